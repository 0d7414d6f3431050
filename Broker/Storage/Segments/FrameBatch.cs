using System.Numerics;
using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// Frames on their way into a segment's file, for one gathered write: headers and padding in memory of its own, bodies
/// as they are. It keeps its memory, so one that is used again and again allocates nothing.
/// </summary>
internal sealed class FrameBatch
{
    private const int LeastHeaders = 64;

    /// <summary>What padding, the space ahead and the space that a truncation wipes are written from.</summary>
    public static readonly ReadOnlyMemory<byte> Zeros = new byte[1024 * 1024];

    private readonly List<ReadOnlyMemory<byte>> _parts = [];
    private readonly List<FramePosition> _frames = [];
    private byte[] _headers = [];
    private int _headerBytes;

    /// <summary>Where the first frame begins.</summary>
    public long From { get; private set; }

    /// <summary>Where the next frame goes.</summary>
    public long To { get; private set; }

    public long SizeBytes => To - From;

    /// <summary>What is to be written at <see cref="From"/>.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Parts => _parts;

    public List<FramePosition> Frames => _frames;

    /// <summary>Forgets what it had; what comes is for this place in the file.</summary>
    public void Begin(long from)
    {
        _parts.Clear();
        _frames.Clear();
        _headerBytes = 0;
        From = To = from;
    }

    /// <summary>Makes room for the headers of so many frames at once.</summary>
    public void Reserve(int frames)
    {
        if (_headers.Length - _headerBytes < frames * FrameHeader.SizeBytes)
        {
            // Parts that were added keep the memory that they are in.
            _headers = new byte[BitOperations.RoundUpToPowerOf2((uint)(frames * FrameHeader.SizeBytes))];
            _headerBytes = 0;
        }
    }

    /// <summary>Adds an entry behind the last one; returns its header's CRC, which the next frame names.</summary>
    /// <param name="entry">The entry, whose body must not change before the write.</param>
    /// <param name="durable">The last index known durable: a proof against cutting it off.</param>
    /// <param name="truncationEpoch">The truncations so far.</param>
    /// <param name="previousCrc32C">The header CRC of the frame before.</param>
    /// <param name="seed">That of the segment.</param>
    public uint Add(LogEntry entry, LogIndex durable, uint truncationEpoch, uint previousCrc32C, uint seed)
    {
        if (_headerBytes == _headers.Length)
        {
            Reserve(LeastHeaders);
        }

        var frame = new FrameHeader(
            entry.Body.Length,
            entry.BodyCrc32C,
            entry.Term,
            entry.Index,
            entry.TimestampUnixMs,
            durable,
            truncationEpoch,
            entry.Count,
            entry.Kind,
            previousCrc32C);
        var header = _headers.AsMemory(_headerBytes, FrameHeader.SizeBytes);
        _headerBytes += FrameHeader.SizeBytes;
        var crc = frame.Encode(header.Span, seed);
        _frames.Add(new FramePosition(To, entry.Body.Length));
        _parts.Add(header);
        if (entry.Body.Length > 0)
        {
            _parts.Add(entry.Body);
        }

        var frameBytes = FrameHeader.FrameBytes(entry.Body.Length);
        AddZeros(frameBytes - entry.SizeBytes);
        To += frameBytes;
        return crc;
    }

    /// <summary>Adds zeros behind what was added; frames that come later overwrite them.</summary>
    public void AddZeros(long sizeBytes)
    {
        for (var left = sizeBytes; left > 0; left -= Zeros.Length)
        {
            _parts.Add(Zeros[..(int)Math.Min(Zeros.Length, left)]);
        }
    }
}
