"""What the course's notebooks share: hierarchical multi-label classification of chest X-rays."""

from cxrlib import threads

threads.choose()
