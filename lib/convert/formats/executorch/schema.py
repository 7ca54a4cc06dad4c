"""ExecuTorch's flatbuffer schema, field by field, for the verifier in ``lib/tflite/flatbuffer.py``.

From ``program.fbs`` of executorch 1.2.0, in the notation of ``lib/tflite/schema.py``.
"""

from __future__ import annotations

from lib.words import lines, words

IDENTIFIER = b"ET12"
TABLES: dict[str, tuple[str, ...]] = {
    row.partition(":")[0]: tuple(row.partition(": ")[2].split())
    for row in lines("""

Program: 4 [ExecutionPlan] [Buffer] [InlineData] [DataSegment] SubsegmentOffsets [SubsegmentOffsets] [NamedData]
ExecutionPlan: s ContainerMetadata [EValue] [4] [4] [Chain] [Operator] [BackendDelegate] [8]
ContainerMetadata: s s
EValue: 1 u:KernelTypes
Int: 8
Bool: 1
Double: 8
Tensor: 1 4 [4] [1] 1 4 AllocationDetails 1 1 ExtraTensorInfo
AllocationDetails: 4 4 4
ExtraTensorInfo: 8 s 1
String: s
IntList: [8]
DoubleList: [8]
BoolList: [1]
TensorList: [4]
OptionalTensorList: [4]
Chain: [4] [4] [Instruction] [FrameList]
Instruction: 1 u:InstructionArguments
KernelCall: 4 [4]
DelegateCall: 4 [4]
MoveCall: 4 4
JumpFalseCall: 4 4
FreeCall: 4
FrameList: [Frame]
Frame: s 4 s s
Operator: s s
BackendDelegate: s DataReference [CompileSpec]
DataReference: 1 4
CompileSpec: s [1]
Buffer: [1]
InlineData: [1]
DataSegment: 8 8
SubsegmentOffsets: 4 [8]
NamedData: s 4
""")
    if row
}
UNIONS: dict[str, tuple[str, ...]] = {
    "KernelTypes": tuple(
        words("Null Int Bool Double Tensor String IntList DoubleList BoolList TensorList OptionalTensorList")
    ),
    "InstructionArguments": tuple(words("KernelCall DelegateCall MoveCall JumpFalseCall FreeCall")),
}
# ScalarType -> dtype name in numpy or ml_dtypes
DTYPES: dict[int, str] = {
    **dict(enumerate(words("uint8 int8 int16 int32 int64 float16 float32 float64"))),
    **{9: "complex64", 10: "complex128", 11: "bool", 15: "bfloat16", 23: "float8_e5m2", 24: "float8_e4m3fn"},
    **{25: "float8_e5m2fnuz", 26: "float8_e4m3fnuz", 27: "uint16", 28: "uint32", 29: "uint64"},
}
