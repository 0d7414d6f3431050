namespace Grpc.Core;

/// <summary>The responses of a streaming call.</summary>
public interface IServerStreamWriter<in T> : IAsyncStreamWriter<T>
{
}
