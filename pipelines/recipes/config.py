"""Settings of what is kept. Light."""

from dataclasses import dataclass, field


@dataclass
class RecipeConfig:
    """What is kept: thresholds over scores. Tightening or loosening them touches no footage."""

    name: str = field(
        default="default",
        metadata={
            "doc": (
                "a preset (default, opensora, cosmos, panda70m, permissive), the path of a recipe's .yaml, "
                "or current: what the dataset was last decided by"
            )
        },
    )
    min: dict[str, float] = field(
        default_factory=dict,
        metadata={"doc": "further lower bounds by score, e.g. recipe.min.motion_mean=0.01; -inf removes one"},
    )
    max: dict[str, float] = field(
        default_factory=dict,
        metadata={"doc": "further upper bounds by score, e.g. recipe.max.luma_mean=230; inf removes one"},
    )
