using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The segments that a start has taken into the log so far, oldest first. Each goes on with the entry after the one
/// before, and names the CRC of its last frame.
/// </summary>
internal sealed class SegmentChain
{
    private readonly List<Segment> _segments = [];

    /// <summary>
    /// The other value that the next segment may name: one that took the place of a damaged one has other frame headers
    /// than the one its successor knew.
    /// </summary>
    private uint _otherCrc32C;

    public IReadOnlyList<Segment> Segments => _segments;

    public TermRuns Terms { get; } = new();

    /// <summary>The first entry that is not there.</summary>
    public LogIndex Next { get; private set; }

    /// <summary>What the next frame, or the next segment, names as the CRC of the frame before it.</summary>
    public uint Crc32C { get; private set; }

    /// <summary>Nothing is taken yet, or no longer; the log begins after this entry.</summary>
    public void BeginAfter(LogIndex last, uint crc32C)
    {
        CloseFiles();
        _segments.Clear();
        Terms.Clear();
        Next = last.Next();
        Crc32C = _otherCrc32C = crc32C;
    }

    /// <summary>Whether a segment names what stands before it here.</summary>
    public bool IsContinuedBy(in SegmentHeader header) => Names(header.PreviousCrc32C);

    /// <summary>Of the values that the next segment may name, the one that a frame names; else the usual one.</summary>
    public uint CrcNamedBy(in FrameHeader first) => Names(first.PreviousCrc32C) ? first.PreviousCrc32C : Crc32C;

    /// <summary>Takes a segment as its positions file describes it.</summary>
    public void Take(Segment segment, SealedMetadata known) =>
        Take(segment, known.Terms, known.SuccessorCrc32C, known.SuccessorCrc32C);

    /// <summary>Takes a segment that was read.</summary>
    /// <param name="segment">What comes next; its file stays open when it is.</param>
    /// <param name="terms">The terms of its entries.</param>
    /// <param name="crc32C">What its successor should name.</param>
    /// <param name="otherCrc32C">Or this.</param>
    public void Take(Segment segment, IReadOnlyList<TermRun> terms, uint crc32C, uint otherCrc32C)
    {
        if (_segments.Count > 0)
        {
            // The one before learns which of two values its successor names.
            _segments[^1].Seal(segment.Header.PreviousCrc32C);
        }

        _segments.Add(segment);
        foreach (var run in terms)
        {
            Terms.Append(run.First, run.Term);
        }

        Next = segment.Last.Next();
        Crc32C = crc32C;
        _otherCrc32C = otherCrc32C;
    }

    public void CloseFiles() => _segments.ForEach(static segment => segment.File?.Dispose());

    private bool Names(uint crc32C) => crc32C == Crc32C || crc32C == _otherCrc32C;
}
