using Broker.Domain;

namespace Broker.Storage;

/// <summary>Writes entries as frames of a new segment file, in pieces of a bounded size.</summary>
internal sealed class FrameWriter(IStorageFile file, SegmentHeader header, int pieceBytes)
{
    private static readonly byte[] Padding = new byte[FrameHeader.AlignmentBytes];
    private readonly uint _seed = FrameHeader.SeedOf(header.Nonce);
    private readonly List<ReadOnlyMemory<byte>> _parts = [];
    private long _from = SegmentHeader.SizeBytes;
    private uint _crc32C = header.PreviousCrc32C;

    public FramePositions Positions { get; } = new();

    /// <summary>The index that must be added next.</summary>
    public LogIndex Next => header.First + Positions.Count;

    public void Add(LogEntry entry)
    {
        var frame = new FrameHeader(
            entry.Body.Length,
            entry.BodyCrc32C,
            entry.Term,
            entry.Index,
            entry.TimestampUnixMs,
            header.First.Previous(),
            header.TruncationEpoch,
            entry.Count,
            entry.Kind,
            _crc32C);
        var bytes = new byte[FrameHeader.SizeBytes];
        _crc32C = frame.Encode(bytes, _seed);
        _parts.Add(bytes);
        _parts.Add(entry.Body);
        _parts.Add(Padding.AsMemory(0, FrameHeader.FrameBytes(entry.Body.Length) - entry.SizeBytes));
        Positions.AddNext(entry.Body.Length);
        if (Positions.EndOffset - _from >= pieceBytes)
        {
            Flush();
        }
    }

    /// <summary>Hands what is left to the file; the caller syncs it.</summary>
    public void Flush()
    {
        if (_parts.Count > 0)
        {
            file.Write(_from, _parts);
            _parts.Clear();
            _from = Positions.EndOffset;
        }
    }
}
