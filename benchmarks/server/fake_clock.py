"""Another time of day for Python code that is imported after `install`.

Files, other processes and modules that were imported before keep the real time. A
test that fails with this clock therefore only depends on the time if it passes
with the same clock set to now.
"""

import datetime
import time

DATE, MOMENT = datetime.date, datetime.datetime


class Like(type):
    """Real dates count as instances of their stand-ins."""

    def __instancecheck__(cls, thing):
        return isinstance(thing, cls.real)

    def __subclasscheck__(cls, kind):
        return issubclass(kind, cls.real)


def install(seconds):
    """Sets the clock `seconds` ahead."""
    ahead = datetime.timedelta(seconds=seconds)
    now, nanoseconds = time.time, time.time_ns
    local, universal, text, form = time.localtime, time.gmtime, time.ctime, time.strftime

    class Date(DATE, metaclass=Like):
        real = DATE

        @classmethod
        def today(cls):
            return cls.fromtimestamp(time.time())

    class Moment(MOMENT, metaclass=Like):
        real = MOMENT

        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def today(cls):
            return cls.now()

        @classmethod
        def utcnow(cls):
            return cls.now(datetime.timezone.utc).replace(tzinfo=None)

    for kind, name in ((Date, "date"), (Moment, "datetime")):
        kind.__name__ = kind.__qualname__ = name
        kind.__module__ = "datetime"
    datetime.date, datetime.datetime = Date, Moment
    time.time = lambda: now() + ahead.total_seconds()
    time.time_ns = lambda: nanoseconds() + int(seconds) * 10**9
    time.localtime = lambda at=None: local(time.time() if at is None else at)
    time.gmtime = lambda at=None: universal(time.time() if at is None else at)
    time.ctime = lambda at=None: text(time.time() if at is None else at)
    time.strftime = lambda words, at=None: form(words, time.localtime() if at is None else at)
