"""An import contract: a slice is entered through its doors, `service` and `events`, and nowhere else."""

from typing import Any

from importlinter import Contract, ContractCheck, fields, output


class Doors(Contract):
    """Every package below `container` is a slice, but for those that are `exempt` (which may also enter anywhere)."""

    container = fields.StringField()
    doors = fields.ListField(subfield=fields.StringField())
    exempt = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Find the imports that go around a door."""
        container, doors = str(self.container), set(self.doors)  # type: ignore[call-overload]
        exempt = {f"{container}.{name}" for name in self.exempt}  # type: ignore[attr-defined]
        slices = {name for name in graph.find_children(container) if graph.find_children(name)} - exempt
        broken = [
            (importer, inside)
            for slice_ in sorted(slices)
            for inside in sorted(graph.find_descendants(slice_))
            if inside.removeprefix(f"{slice_}.").partition(".")[0] not in doors
            for importer in sorted(graph.find_modules_that_directly_import(inside))
            if not any(within(importer, allowed) for allowed in (slice_, *exempt))
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import that goes around a door."""
        for importer, inside in check.metadata["broken"]:
            output.print_error(f"{importer} goes around the doors of {inside}")


def within(module: str, package: str) -> bool:
    """Whether a module is the package or lies in it."""
    return module == package or module.startswith(f"{package}.")
