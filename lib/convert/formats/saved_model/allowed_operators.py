"""Allow-list of TensorFlow operators for uploaded SavedModels: arithmetic, shapes, variables, control flow.

Operators that access files, run Python, use the network or load libraries are not on it, and neither is anything that
TensorFlow adds later. ``SAVING``: operators of the saver, which every SavedModel contains; allowed only where nothing
but the saver reaches them. ``RESTORING``: may run while variables are restored.
"""

from __future__ import annotations

from lib.words import words

ALLOWED = frozenset(
    words("""
    Abs Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Any ApproximateEqual ArgMax ArgMin
    Asin Asinh Assert Assign AssignAddVariableOp AssignSubVariableOp AssignVariableOp Atan Atan2 Atanh AvgPool AvgPool3D
    BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND BesselI0e
    BesselI1e BiasAdd BiasAddV1 Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastTo Bucketize
    Case Cast Ceil CheckNumerics Cholesky ClipByValue CombinedNonMaxSuppression Complex ComplexAbs Concat ConcatV2 Conj
    Const ControlTrigger Conv Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cosh CropAndResize Cross
    Cumprod Cumsum CumulativeLogsumexp DepthToSpace DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dequantize
    Diag DiagPart DisableCopyOnRead Dilation2D Digamma Div DivNoNan DynamicPartition DynamicStitch Einsum Elu Empty
    EnsureShape Enter
    Equal Erf Erfc Erfinv EuclideanNorm Exit Exp ExpandDims Expm1 ExtractGlimpse ExtractImagePatches
    ExtractVolumePatches FFT FFT2D FFT3D FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
    Gather GatherNd GatherV2 Greater GreaterEqual HSVToRGB HashTable HashTableV2 HistogramFixedWidth IFFT IFFT2D IFFT3D
    IRFFT IRFFT2D Identity IdentityN If Igamma Igammac Imag InTopK InTopKV2 Inv Invert InvertPermutation IsFinite IsInf
    IsNan IsVariableInitialized L2Loss LRN LeakyRelu LeftShift Less LessEqual Lgamma LinSpace Log Log1p
    LogMatrixDeterminant LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableExportV2 LookupTableFind
    LookupTableFindV2 LookupTableImport LookupTableImportV2 LookupTableSizeV2 LoopCond LowerBound MatMul MatrixBandPart
    MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3
    MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixTriangularSolve Max MaxPool MaxPool3D
    MaxPoolV2 MaxPoolWithArgmax Maximum Mean Merge Min Minimum MirrorPad Mod Mul MulNoNan MutableHashTable
    MutableHashTableV2 Ndtri Neg NextAfter NextIteration NoOp NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
    NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual OneHot OnesLike Pack Pad PadV2 ParallelConcat
    ParallelDynamicStitch PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault Polygamma PopulationCount
    Pow PreventGradient Prod Qr QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
    QuantizeAndDequantizeV4 QuantizeV2 RFFT RFFT2D RGBToHSV RandomShuffle RandomStandardNormal RandomUniform
    RandomUniformInt Range Rank ReadVariableOp Real RealDiv Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic
    ResizeBilinear ResizeNearestNeighbor ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterNdUpdate
    ResourceScatterUpdate ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt ScaleAndTranslate ScatterNd
    SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 SelfAdjointEigV2 Selu Shape ShapeN Sigmoid
    Sign Sin Sinh Size Slice Snapshot Softmax Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth SparseToDense
    Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatefulRandomBinomial
    StatefulStandardNormalV2 StatefulUniform StatelessCase StatelessIf StatelessMultinomial StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal
    StatelessTruncatedNormalV2 StatelessWhile StaticRegexFullMatch StaticRegexReplace StopGradient StridedSlice
    StringJoin StringLower Sub Sum Svd Switch Tan Tanh TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3
    TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
    TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter
    TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate
    Tile TopK TopKV2 Transpose TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod TruncatedNormal Unique
    UniqueV2 UniqueWithCounts Unpack UnravelIndex UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum UpperBound VarHandleOp VarIsInitializedOp Variable VariableV2 Where While Xdivy Xlog1py Xlogy
    ZerosLike Zeta
""")
    # further operators used by Keras' own layers and functions (counts, random numbers in training, transforms)
    + words("""
    BesselI0 BesselI1 CTCBeamSearchDecoder CTCGreedyDecoder DenseBincount Eig EmptyTensorList IRFFT3D
    ImageProjectiveTransformV3 Lu RFFT3D SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits
    StatelessRandomBinomial StatelessRandomGammaV3 UniqueWithCountsV2
""")
    # in every LSTM and GRU of Keras 2: the GPU branch and its gradients
    + words("ConcatOffset CudnnRNNBackpropV3 CudnnRNNV3")
)
SAVING = frozenset(
    words("""
    SaveV2 RestoreV2 MergeV2Checkpoints ShardedFilename
""")
)
RESTORING = frozenset({"RestoreV2"})
# Common refused operators and what they do, for the error message ("(...), which is not allowed").
WHY: dict[str, str] = {
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"), "runs Python"),
    **dict.fromkeys(
        words("""
    ReadFile WriteFile MatchingFiles FixedLengthRecordReaderV2 WholeFileReaderV2 TextLineReaderV2 TFRecordReaderV2
    TFRecordDataset TextLineDataset FixedLengthRecordDataset PrintV2 Print SaveDatasetV2 LoadDataset SnapshotDatasetV2
    CreateSummaryFileWriter WriteSummary InitializeTableFromTextFile InitializeTableFromTextFileV2 ImmutableConst
    LMDBDataset SqlDataset DebugIdentityV2 DebugIdentityV3 Save Restore
"""),
        "reads or writes files",
    ),
    **dict.fromkeys(
        ("RpcCall", "RpcClient", "RpcServer", "DataServiceDataset", "DataServiceDatasetV2"), "connects to a server"
    ),
    **dict.fromkeys(("XlaCallModule", "TensorRTEngineOp", "TRTEngineOp", "RemoteCall"), "runs embedded code"),
}
