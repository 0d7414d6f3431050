using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// The intact beginning of a segment that is in quarantine now, with its file open: these entries follow the log, and
/// are to be appended anew.
/// </summary>
internal sealed class RescuedEntries(Segment source) : IDisposable
{
    private int _read;

    public int Count => source.Count;

    /// <summary>
    /// Adds the next of them, about as much as one message of a leader brings; false when there are no more, or when
    /// they cannot be read any more.
    /// </summary>
    public bool TryRead(List<LogEntry> into)
    {
        if (_read == source.Count)
        {
            return false;
        }

        var run = Next();
        var entries = new LogEntry[run.Frames.Length];
        if (run.Read(entries) is not null)
        {
            return false;
        }

        into.AddRange(entries);
        _read += entries.Length;
        return true;
    }

    public void Dispose() => source.File!.Dispose();

    private PinnedRun Next()
    {
        var positions = source.Positions!;
        var frames = new List<FramePosition>();
        for (var at = _read; at < source.Count; at++)
        {
            if (at > _read && positions[at].EndOffset - positions[_read].Offset > Limits.AppendMessageBytes)
            {
                break;
            }

            frames.Add(positions[at]);
        }

        return new PinnedRun(
            source, source.File!, source.First + _read, positions[_read].Offset, [.. frames], Cuts: 0);
    }
}
