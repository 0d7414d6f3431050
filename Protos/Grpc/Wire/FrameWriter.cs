using System.Buffers;
using System.IO.Compression;
using Grpc.Core;

namespace Grpc.Wire;

/// <summary>
/// Lets a serializer write its frame straight into the transport's buffer. One instance serves all messages of a call.
/// A serializer that tells its length first costs no copy; others are gathered aside and copied.
/// </summary>
internal sealed class FrameWriter(
    IBufferWriter<byte> target, int? limitBytes, CompressionLevel? compressionLevel = null)
    : SerializationContext
{
    private ArrayBufferWriter<byte>? _aside;
    private int _length = UnknownLength;
    private bool _compress;

    private const int UnknownLength = -1;

    /// <summary>The header of a frame is in the target, the end of the frame is not.</summary>
    public bool IsInsideFrame { get; private set; }

    public void Write<T>(T message, Marshaller<T> marshaller, bool compress = false)
    {
        _length = UnknownLength;
        _compress = compress;
        IsInsideFrame = false;
        _aside?.ResetWrittenCount();
        marshaller.ContextualSerializer(message, this);
    }

    public override void SetPayloadLength(int payloadLength)
    {
        CheckLimit(payloadLength);
        _length = payloadLength;
    }

    public override IBufferWriter<byte> GetBufferWriter()
    {
        if (_length == UnknownLength || _compress)
        {
            return _aside ??= new ArrayBufferWriter<byte>();
        }

        if (!IsInsideFrame)
        {
            IsInsideFrame = true;
            Frame.WriteHeader(target, _length, isCompressed: false);
        }

        return target;
    }

    public override void Complete()
    {
        if (IsInsideFrame)
        {
            IsInsideFrame = false;
            return;
        }

        WriteWhole(_aside is null ? default : _aside.WrittenSpan);
    }

    public override void Complete(byte[] payload)
    {
        ArgumentNullException.ThrowIfNull(payload);
        WriteWhole(payload);
    }

    private void WriteWhole(ReadOnlySpan<byte> payload)
    {
        CheckLimit(payload.Length);

        // GZipStream makes nothing of nothing, which other implementations refuse to read as gzip.
        var isCompressed = _compress && payload.Length > 0;
        if (isCompressed)
        {
            payload = Gzip.Compress(payload, compressionLevel ?? CompressionLevel.Fastest);
        }

        Frame.WriteHeader(target, payload.Length, isCompressed);
        target.Write(payload);
    }

    private void CheckLimit(int payloadSizeBytes)
    {
        if (payloadSizeBytes > limitBytes)
        {
            throw FrameErrors.SentTooLarge(payloadSizeBytes, limitBytes.Value);
        }
    }
}
