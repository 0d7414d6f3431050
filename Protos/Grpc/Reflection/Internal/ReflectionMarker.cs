namespace Grpc.Reflection.Internal;

/// <summary>Tells that AddGrpcReflection was called.</summary>
internal sealed class ReflectionMarker;
