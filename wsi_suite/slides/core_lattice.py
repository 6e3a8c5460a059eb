"""The lattice of a tissue microarray: which row and column each core stands in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Points

Indices = npt.NDArray[np.int_]
Vector = npt.NDArray[np.float64]

_NEIGHBOURS = 16
_FARTHEST = 4.0  # diameters from one core to the next
_NEAREST = 0.9
_SLOPE = 0.35  # tangent of the greatest angle between a row and the slide's edge
_NEAR_NODE = 0.3  # spacings; cores lie that far off their place, or nearer
_SQUARE = 0.2  # greatest cosine between rows and columns


@dataclass(frozen=True, eq=False)
class Lattice:
    """Rows and columns at equal distances.

    Attributes
    ----------
    origin
        ``(2,)`` x and y of the node at row 0, column 0.
    steps
        ``(2, 2)``: the way to the next row, and to the next column.
    nodes
        ``(N, 2)`` row and column of each point; the first of each is 0.
    on
        ``(N,)`` whether a point lies at a node; of several points at one, the nearest.
    """

    origin: Vector
    steps: npt.NDArray[np.float64]
    nodes: Indices
    on: npt.NDArray[np.bool_]

    def place(self, row: int, column: int) -> Vector:
        """Return the ``(2,)`` place of a node."""
        return np.asarray(self.origin + (row, column) @ self.steps)

    @property
    def spacing(self) -> tuple[float, float]:
        """Distances from column to column and from row to row."""
        row, column = np.hypot(*self.steps.T)
        return float(column), float(row)

    @property
    def rotation_degrees(self) -> float:
        """Angle of the rows, clockwise on the screen."""
        return float(np.degrees(np.arctan2(self.steps[1, 1], self.steps[1, 0])))


def fit_lattice(
    points: Points, *, diameter: float, one_row: bool = False, one_column: bool = False
) -> Lattice | None:
    """Fit rows and columns to the centres of cores, of which some may be missing.

    The steps are medians over neighbours; from neighbour to neighbour each point gets its row and
    column, and least squares over all of them refine the lattice.

    Parameters
    ----------
    points
        ``(N, 2)`` centres, N at least 1.
    diameter
        Of a core, in the unit of `points`.
    one_row, one_column
        There is a single row, or column, so that no step can be seen.

    Returns
    -------
    Lattice or None
        ``None`` without neighbours at equal distances.
    """
    steps = _steps(points, diameter=diameter, one_row=one_row, one_column=one_column)
    if steps is None or not _is_plausible(steps, diameter):
        return None
    nodes, linked = _walk(points, steps)
    origin = (points[linked] - nodes[linked] @ steps).mean(axis=0)
    for _ in range(6):
        nodes = np.rint((points - origin) @ np.linalg.inv(steps)).astype(int)
        if one_row:
            nodes[:, 0] = 0
        if one_column:
            nodes[:, 1] = 0
        on = _at_nodes(points, nodes, origin=origin, steps=steps)
        if not on.any():
            return None
        origin, steps = _refined(points[on], nodes[on], steps=steps)
    if not _is_plausible(steps, diameter):
        return None
    first = nodes[on].min(axis=0)
    return Lattice(origin + first @ steps, steps, nodes - first, on)


def _steps(
    points: Points, *, diameter: float, one_row: bool, one_column: bool
) -> npt.NDArray[np.float64] | None:
    """Return the steps to the next row and column as neighbours show them."""
    from scipy.spatial import cKDTree

    count = min(_NEIGHBOURS + 1, len(points))
    _, near = cKDTree(points).query(points, k=[*range(1, count + 1)])
    ways = points[near] - points[:, None]
    ways[np.hypot(ways[..., 0], ways[..., 1]) > _FARTHEST * diameter] = 0
    row = None if one_row else _step(ways[..., ::-1])
    column = None if one_column else _step(ways)
    if row is not None:
        row = row[::-1]
    if one_column and (row is not None or one_row):
        row = np.array([0, 1.5 * diameter]) if row is None else row
        column = np.array([row[1], -row[0]])
    elif one_row and column is not None:
        row = np.array([-column[1], column[0]])
    return None if row is None or column is None else np.stack([row, column])


def _step(ways: npt.NDArray[np.float64]) -> Vector | None:
    """Return the shortest common way along the first axis; of ``(N, K, 2)`` ways to neighbours."""
    along = np.where(np.abs(ways[..., 1]) <= _SLOPE * ways[..., 0], ways[..., 0], np.inf)
    along[along <= 0] = np.inf
    nearest = along.argmin(axis=1)
    there = np.flatnonzero(np.isfinite(along.min(axis=1)))
    found = ways[there, nearest[there]]
    if not len(found):
        return None
    # Beside a missing core the nearest neighbour is two steps away.
    short = found[found[:, 0] <= 1.4 * np.quantile(found[:, 0], 0.2)]
    return np.asarray(np.median(short, axis=0))


def _is_plausible(steps: npt.NDArray[np.float64], diameter: float) -> bool:
    lengths = np.hypot(*steps.T)
    cosine = abs(float(steps[0] @ steps[1])) / float(lengths.prod())
    near, far = _NEAREST * diameter, _FARTHEST * diameter
    return bool((lengths >= near).all() and (lengths <= far).all() and cosine <= _SQUARE)


def _walk(points: Points, steps: npt.NDArray[np.float64]) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Return rows and columns by walks from neighbour to neighbour, and who was reached.

    The most points that hang together are taken. Walks do not mind a lattice that bends.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components
    from scipy.spatial import cKDTree

    tree, reach = cKDTree(points), _NEAR_NODE * float(np.hypot(*steps.T).min())
    pairs = []
    for step in steps:
        distance, there = map(np.asarray, tree.query(points + step, distance_upper_bound=reach))
        here = np.flatnonzero(np.isfinite(distance))
        pairs.append(np.stack([here, there[here]], axis=1))
    ends = np.concatenate(pairs)
    shape = (len(points), len(points))
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=shape).tocsr()
    _, parts = connected_components(graph, directed=False)
    linked = parts == np.bincount(parts).argmax()
    start = int(np.flatnonzero(linked)[0])
    order, before = breadth_first_order(graph, start, directed=False)
    nodes = np.zeros((len(points), 2), int)
    inverse = np.linalg.inv(steps)
    for one in order[1:]:
        way = np.rint((points[one] - points[before[one]]) @ inverse).astype(int)
        nodes[one] = nodes[before[one]] + way
    return nodes, linked


def _at_nodes(
    points: Points, nodes: Indices, *, origin: Vector, steps: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which points lie at their node, the nearest of each node alone."""
    off = np.hypot(*(points - origin - nodes @ steps).T)
    order = np.argsort(off, kind="stable")
    _, first = np.unique(nodes[order], axis=0, return_index=True)
    on = np.zeros(len(points), bool)
    on[order[first]] = True
    near = off <= _NEAR_NODE * float(np.hypot(*steps.T).min())
    return np.asarray(on & near)


def _refined(
    points: Points, nodes: Indices, *, steps: npt.NDArray[np.float64]
) -> tuple[Vector, npt.NDArray[np.float64]]:
    """Return origin and steps that fit best; a step that no two points show stays as it is."""
    shown = np.flatnonzero(np.ptp(nodes, axis=0) > 0)
    hidden = nodes @ np.where(np.isin([0, 1], shown)[:, None], 0.0, steps)
    design = np.column_stack([np.ones(len(nodes)), nodes[:, shown]])
    solution = np.linalg.lstsq(design, points - hidden, rcond=None)[0]
    refined = steps.copy()
    refined[shown] = solution[1:]
    return solution[0], refined
