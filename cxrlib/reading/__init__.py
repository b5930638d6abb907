"""Reading one radiograph: any file, then scores, doubt, maps, and what may be said."""

from cxrlib.reading.files import ReadingError, read_radiograph
from cxrlib.reading.reader import Reader, Reading, find_reader
