"""Reading one radiograph: any file, then scores, doubt, maps, and what may be said."""

from cxrlib.reading.files import ReadingError, read_radiograph
from cxrlib.reading.find import find_reader
from cxrlib.reading.reader import Reader
from cxrlib.reading.report import Reading
