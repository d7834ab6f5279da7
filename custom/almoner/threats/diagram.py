"""The data-flow diagram of the threat model, as Mermaid text."""

from almoner.schema.threat_model import Element, ThreatModel

_SHAPES = {"external": ('["', '"]'), "process": ('(["', '"])'), "store": ('[("', '")]')}


def data_flow_diagram(model: ThreatModel) -> str:
    """Return the diagram: parties square, processes round, stores as cylinders; a box is a trust boundary."""
    lines = ["```mermaid", "flowchart LR"]
    for boundary in model.boundaries:
        lines.append(f'  subgraph {_node(boundary.id)}_boundary["{boundary.title}"]')
        lines += [f"    {_shape(element)}" for element in model.elements if element.boundary == boundary.id]
        lines.append("  end")
    lines += [f'  {_node(flow.source)} -- "{flow.id}" --> {_node(flow.target)}' for flow in model.flows]
    return "\n".join([*lines, "```"])


def _shape(element: Element) -> str:
    """Return an element in the shape of its kind."""
    opening, closing = _SHAPES[element.kind]
    return f"{_node(element.id)}{opening}{element.title}{closing}"


def _node(name: str) -> str:
    """Return a name that Mermaid takes for a node's; it stumbles over `-` and over words of its own."""
    return f"n_{name.replace('-', '_')}"
