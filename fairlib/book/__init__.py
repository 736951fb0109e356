"""Book: chapters, their runs, and the pages made of them. The only room that knows of notebooks, papermill and
Sphinx."""
