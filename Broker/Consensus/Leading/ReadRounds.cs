using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// Reads that wait until a majority has answered a round of heartbeats that began after them, and so has confirmed that
/// this replica still leads (Raft thesis 6.4). Reads that come while a round is under way share the next.
/// </summary>
internal sealed class ReadRounds
{
    /// <summary>Oldest first. The answers to heartbeats of its round, or of a later one, confirm a read.</summary>
    private readonly Queue<(long Context, LogIndex Index, long Round)> _waiting = new();

    /// <summary>What the next Ready tells.</summary>
    private List<ReadResult> _results = [];

    /// <summary>
    /// The last round of heartbeats that was begun for reads. Below <see cref="ReplicaDamage.FirstNumber"/>, as both
    /// travel in the same field.
    /// </summary>
    public long Begun { get; private set; }

    /// <summary>Reads wait for a round that has not begun, and none is under way.</summary>
    public bool IsDue { get; private set; }

    public int WaitingCount => _waiting.Count;

    public bool HasResults => _results.Count > 0;

    /// <summary>0: none.</summary>
    public long UnderWay => _waiting.TryPeek(out var oldest) && oldest.Round <= Begun ? Begun : 0;

    /// <summary>A read that need not wait.</summary>
    public void Answer(long context, LogIndex index) => _results.Add(new ReadResult(context, index, Refused: false));

    public void Add(long context, LogIndex index)
    {
        IsDue |= UnderWay == 0;
        _waiting.Enqueue((context, index, Begun + 1));
    }

    /// <summary>The heartbeats that are about to leave confirm whatever waits.</summary>
    public void Begin()
    {
        Begun++;
        IsDue = false;
    }

    /// <summary>A majority has answered a round: answers the reads of it, and of those before.</summary>
    public void Confirm(long round)
    {
        while (_waiting.TryPeek(out var read) && read.Round <= round)
        {
            _waiting.Dequeue();
            Answer(read.Context, read.Index);
        }

        IsDue = _waiting.Count > 0 && UnderWay == 0;
    }

    /// <summary>This replica leads no more.</summary>
    public void RefuseAll()
    {
        while (_waiting.TryDequeue(out var read))
        {
            _results.Add(new ReadResult(read.Context, LogIndex.None, Refused: true));
        }

        IsDue = false;
    }

    /// <summary>Hands out what is answered, in exchange for an empty list.</summary>
    public List<ReadResult> Take(List<ReadResult> empty)
    {
        var results = _results;
        _results = empty;
        return results;
    }
}
