using System.Buffers;
using Grpc.Core;

namespace Grpc.Wire;

/// <summary>Shows a deserializer the payload where it lies. One instance serves all messages of a call.</summary>
internal sealed class PayloadReader : DeserializationContext
{
    private ReadOnlySequence<byte> _payload;

    public override int PayloadLength => (int)_payload.Length;

    public override byte[] PayloadAsNewBuffer() => _payload.ToArray();

    public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => _payload;

    public T Read<T>(in ReadOnlySequence<byte> payload, Marshaller<T> marshaller)
    {
        _payload = payload;
        try
        {
            return marshaller.ContextualDeserializer(this);
        }
        catch (Exception exception) when (exception is not RpcException)
        {
            throw new RpcException(new Status(
                StatusCode.Internal, $"The received message is not a valid {typeof(T).Name}: {exception.Message}",
                exception));
        }
        finally
        {
            _payload = default;
        }
    }
}
