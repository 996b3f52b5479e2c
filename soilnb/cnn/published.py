"""Architectures by name: the small one used throughout, and those of the paper."""

from __future__ import annotations

from types import MappingProxyType

from soilnb.cnn.architecture import Architecture, ConvBlock, FCBlock

# A small network with settings that suit 30 to a few hundred samples; not searched.
SMALL = Architecture(
    conv=(ConvBlock(filters=32, kernel=9, stride=3, dropout=0.1),),
    fc=(FCBlock(nodes=64, dropout=0.2),),
)

# Shen et al. (2022), ISPRS Journal of Photogrammetry and Remote Sensing 188, 190-200:
# Table 2 (global and country libraries), then Table 4 (instances selected from the
# global library, and local samples). The tables do not give epochs, batch size,
# optimiser or learning rate: those of SMALL stand in for them.
_GLOBAL = Architecture(
    conv=(ConvBlock(148, 10, 4),),
    fc=(
        FCBlock(691, "selu"),
        FCBlock(891, "elu", batch_normalisation=True, dropout=0.38),
        FCBlock(533, "silu", batch_normalisation=True),
        FCBlock(764, "selu", batch_normalisation=True, dropout=0.38),
        FCBlock(650, "selu", dropout=0.38),
    ),
)
_CHINA = Architecture(
    conv=(
        ConvBlock(25, 7, 7),
        ConvBlock(248, 8, 3, activation="leaky_relu"),
        ConvBlock(238, 5, 4, activation="relu", dropout=0.39),
    ),
    fc=(
        FCBlock(212, "leaky_relu", dropout=0.07),
        FCBlock(140, "leaky_relu"),
        FCBlock(165, "silu"),
        FCBlock(50, "leaky_relu", dropout=0.07),
    ),
)
_SWEDEN = Architecture(
    conv=(ConvBlock(161, 5, 3),),  # its activation is not legible in our copy
    fc=(
        FCBlock(896, "silu", batch_normalisation=True, dropout=0.37),
        FCBlock(474, "silu", batch_normalisation=True, dropout=0.37),
    ),
)
_USA = Architecture(
    conv=(
        ConvBlock(216, 8, 7, activation="selu"),
        ConvBlock(216, 8, 8, padding="same", batch_normalisation=True),
        ConvBlock(252, 4, 4, padding="same", activation="leaky_relu", dropout=0.03),
    ),
    fc=(
        FCBlock(179, "silu", batch_normalisation=True),
        FCBlock(252, "silu", batch_normalisation=True, dropout=0.29),
    ),
)
_DTL_I_CHINA = Architecture(
    conv=(ConvBlock(232, 3, 2, dropout=0.001),), fc=(FCBlock(22, "elu", dropout=0.38),)
)
_DTL_I_SWEDEN = Architecture(
    conv=(ConvBlock(214, 10, 6, padding="same", activation="selu", dropout=0.2),),
    fc=(
        FCBlock(446, "leaky_relu", batch_normalisation=True),
        FCBlock(208, "silu", dropout=0.48),
    ),
)
_DTL_I_USA = Architecture(
    conv=(ConvBlock(212, 7, 3, padding="same", dropout=0.16),),
    fc=(FCBlock(1005, "silu"), FCBlock(1015, "selu")),
)

PUBLISHED = MappingProxyType(
    {
        "global": _GLOBAL,
        "china": _CHINA,
        "sweden": _SWEDEN,
        "usa": _USA,
        "dtl_i_china": _DTL_I_CHINA,
        "dtl_i_sweden": _DTL_I_SWEDEN,
        "dtl_i_usa": _DTL_I_USA,
    }
)
