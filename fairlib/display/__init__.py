"""Display: words, sentences, charts and their files. Findings and tables in, what a reader sees out; nothing is
computed here that a reader could not compute from the table shown.
"""
