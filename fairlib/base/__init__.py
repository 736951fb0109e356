"""What every room stands on, and knows nothing of speech.

`files` (atomic writing, locks, folders), `progress`, `writing` (numbers and lists in words), `tasks` (what each task is
called, once), `moved` (names of earlier editions).
"""
