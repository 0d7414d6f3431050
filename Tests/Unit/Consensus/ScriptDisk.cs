using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// What a node of a scene has durable: its vote file, a snapshot at the base, and the terms of its log.
/// </summary>
internal sealed class ScriptDisk
{
    private readonly List<Term> _terms = [];
    private GroupConfiguration? _configuration;
    private GroupConfiguration? _previousConfiguration;

    public HardState HardState { get; private set; }

    public LogPosition Base { get; private set; }

    public LogPosition Fence { get; private set; }

    private LogIndex LastIndex => Base.Index + _terms.Count;

    public static ScriptDisk Prepared(
        HardState hardState, LogPosition basePosition, LogPosition fence, IEnumerable<Term> terms)
    {
        var disk = new ScriptDisk { HardState = hardState, Base = basePosition, Fence = fence };
        disk._terms.AddRange(terms);
        return disk;
    }

    public static string Describe(HardState state) =>
        $"term {state.Term} vote {state.VotedFor}"
        + (state.IsLost ? " lost" : state.PassiveUntil > LogIndex.None ? $" passive until {state.PassiveUntil}" : "");

    /// <summary>Whether an entry is here; those that the snapshot covers are.</summary>
    public bool Holds(LogIndex index, Term term) =>
        index <= Base.Index || (index <= LastIndex && _terms[(int)(index - Base.Index) - 1] == term);

    public RaftInitialState Recover()
    {
        var runs = new List<TermRun>();
        for (var i = 0; i < _terms.Count; i++)
        {
            if (i == 0 || _terms[i] != _terms[i - 1])
            {
                runs.Add(new TermRun(Base.Index + (i + 1), _terms[i]));
            }
        }

        return new RaftInitialState
        {
            HardState = HardState,
            Base = Base,
            LastIndex = LastIndex,
            TermRuns = runs,
            CommitIndex = Base.Index,
            Configuration = _configuration,
            PreviousConfiguration = _previousConfiguration,
            Fence = Fence,
        };
    }

    public void Apply(ScriptWrite write)
    {
        ApplyVoteFile(write);
        ApplyLog(write);
    }

    /// <summary>The first part of a write: it is durable before the log changes.</summary>
    public void ApplyVoteFile(ScriptWrite write)
    {
        HardState = write.HardState ?? HardState;
        Fence = write.Fence ?? Fence;
        if (write.Configuration is { } configuration)
        {
            (_configuration, _previousConfiguration) = (configuration, write.PreviousConfiguration);
        }
    }

    private void ApplyLog(ScriptWrite write)
    {
        if (write.Snapshot is { } snapshot)
        {
            _terms.Clear();
            Base = snapshot;
        }

        if (write.TruncateFrom is { } from && from <= LastIndex)
        {
            var keep = (int)(from - Base.Index) - 1;
            _terms.RemoveRange(keep, _terms.Count - keep);
        }

        Assert.True(write.Terms.Count == 0 || write.First == LastIndex.Next(), "entries follow one another");
        _terms.AddRange(write.Terms);
    }

    /// <summary>The log up to here is in a snapshot, and goes.</summary>
    public void CompactThrough(LogIndex index, Term term)
    {
        _terms.RemoveRange(0, (int)(index - Base.Index));
        Base = new LogPosition(index, term);
    }

    public override string ToString() =>
        Describe(HardState)
        + (Base != LogPosition.None ? $" base {Base}" : "")
        + $" log {ScriptText.Entries(Base.Index.Next(), _terms)}"
        + (_configuration is { } members ? $" members {ScriptText.Members(members)}" : "")
        + (Fence != LogPosition.None ? $" fence {Fence}" : "");
}
