"""Long experiments of the chapters: defined here, run by ``make studies``, stored in ``stored/``."""
