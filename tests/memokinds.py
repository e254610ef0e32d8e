"""Functions of many kinds, as cells of a notebook, for the tests of keys."""

from __future__ import annotations

import textwrap
import time
from typing import Any


def cells(*sources: str, name: str = "f") -> Any:
    """Run cells as a notebook does and return what the last one calls f."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(sources):
        exec(compile(textwrap.dedent(source), f"<cell {number} {time.monotonic_ns()}>", "exec"), space)  # noqa: S102
    return space[name]


KINDS = {
    "plain": "def f(x): return x + 1",
    "a set": "def f(x): return x in {'a', 'b', 'c', 1, None}",
    "a global set": "S = {'a', 'b', 'c', ('d', 'e')}\ndef f(x): return x in S",
    "each other": "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\nf = even",
    "a lambda": "f = lambda x: x * 2",
    "a partial": "import functools\ndef g(a, b): return a + b\nf = functools.partial(g, b=3)",
    "a method": "class A:\n    def __init__(self): self.v = {'x': 1}\n    def m(self, x): return self.v\nf = A().m",
    "wrapped": """
        import functools
        def deco(h):
            @functools.wraps(h)
            def inner(*a): return h(*a)
            return inner
        @deco
        def f(x): return x
        """,
    "lru_cache": "import functools\n@functools.lru_cache\ndef f(x): return x",
    "a builtin": "f = len",
    "a ufunc": "import numpy as np\nf = np.sin",
    "scipy's": "import scipy.special\nf = scipy.special.expit",
    "numpy": "import numpy as np\nR = np.random.default_rng(3)\ndef f(x): return np.linalg.svd(x), R.normal()",
    "an import inside": "def f(x):\n    import numpy as np\n    return np.sum(x)",
    "dataclasses": """
        from dataclasses import dataclass, field
        @dataclass
        class P:
            x: int = 3
            y: list = field(default_factory=list)
        @dataclass(frozen=True, slots=True, order=True)
        class Q:
            x: 'int' = 3
        p = P()
        def f(x): return p.x, Q(x)
        """,
    "enums": """
        import enum
        class C(enum.Enum):
            A = 1
            B = 'x'
        class D(enum.IntFlag):
            A = 1
            B = 2
        def f(x): return C.A, D.A | D.B
        """,
    "tuples with names": """
        from typing import NamedTuple
        from collections import namedtuple
        class N(NamedTuple):
            a: int
            b: str = 'q'
        M = namedtuple('M', 'a b')
        def f(x): return N(x), M(1, 2)
        """,
    "classes": """
        import abc, functools
        class B(abc.ABC):
            __slots__ = ('v', '__dict__')
            @abc.abstractmethod
            def g(self): ...
        class D(B):
            def __init__(self):
                super().__init__()
                self.v = {'z', 'y', 'x'}
            def g(self): return self.c
            @property
            def p(self): return 2
            @functools.cached_property
            def c(self): return self.p
            @classmethod
            def make(cls): return cls()
            @staticmethod
            def s(): return 3
        d = D()
        def f(x): return d.g()
        """,
    "a class inside": """
        def f(x):
            class In:
                v = 3
                def g(self): return [y for y in range(self.v) if y in {1, 'a', 'b'}]
            return sum(In().g())
        """,
    "a closure": "def make(n):\n    def inner(x): return x + n\n    return inner\nf = make(4)",
    "pandas": """
        import pandas as pd
        d = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y'], 't': pd.to_datetime(['2020-01-01', '2021-01-01'])})
        def f(x): return d
        """,
    "arrays": """
        import numpy as np
        a = np.array([('a', 1.5)], dtype=np.dtype([('n', 'S3'), ('v', 'f8')], align=True))
        b = np.array(['2020', '2021'], dtype='M8[s]')
        c = np.array([{'a', 'b'}, None], dtype=object), np.array(3.5), np.zeros((0, 3)), np.float32(1)
        def f(x): return a, b, c
        """,
    "many kinds": """
        import collections, contextlib, datetime, decimal, logging, re
        r, l = re.compile('a+'), logging.getLogger('x')
        v = [datetime.date(2020, 1, 1), decimal.Decimal('1.2'), slice(1, 2), range(4), ..., object(), 2j, b'x']
        d = collections.defaultdict(lambda: 3, a=1), collections.Counter('abc'), collections.deque([1], 3)
        @contextlib.contextmanager
        def c(): yield 3
        class E(ValueError): pass
        def f(x):
            l.info(r.match(x))
            with c() as w: raise E(v, d, w)
        """,
    "typing": """
        from typing import Generic, Optional, Protocol, TypeVar
        T = TypeVar('T')
        K = Optional[int]
        class G(Generic[T]):
            def __init__(self, v: T): self.v = v
        class P(Protocol):
            v: int
        g = G[int](3)
        def f(x: K) -> T: return g.v, list[int], isinstance(x, P)
        """,
    "what holds itself": "l = [1]; l.append(l)\nd = {}; d['d'] = d\ndef f(x): return l, d",
}
