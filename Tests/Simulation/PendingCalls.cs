using System.Diagnostics.CodeAnalysis;
using Broker.Domain;

namespace Broker.Tests.Simulation;

/// <summary>Linearizable reads and changes of members that a replica was asked for and has not answered.</summary>
internal sealed class PendingCalls(ReplicaNode node, SimulatedGroup group)
{
    /// <summary>A leader that has crashed never answers: the oldest questions are forgotten.</summary>
    private const int MostAsked = 20;

    /// <summary>Reads here of which a leader elsewhere was asked how far this replica must be.</summary>
    private readonly List<(LogIndex Acknowledged, Task<LogIndex> Answer)> _asked = [];

    /// <summary>Reads under way, with what had been acknowledged when each began.</summary>
    private readonly List<(LogIndex Acknowledged, Task<LogIndex> Answer)> _reads = [];

    private readonly List<Task<LogIndex>> _changes = [];

    private readonly List<Task<LogIndex>> _recoveries = [];

    public void AddRead(LogIndex acknowledged, Task<LogIndex> answer) => _reads.Add((acknowledged, answer));

    public void AddAsked(LogIndex acknowledged, Task<LogIndex> answer)
    {
        _asked.Add((acknowledged, answer));
        _asked.RemoveRange(0, Math.Max(0, _asked.Count - MostAsked));
    }

    public void AddChange(Task<LogIndex> answer) => _changes.Add(answer);

    public void AddRecovery(Task<LogIndex> answer) => _recoveries.Add(answer);

    public void Clear()
    {
        _recoveries.Clear();
        _asked.Clear();
        _reads.Clear();
        _changes.Clear();
    }

    /// <summary>What was answered was answered right.</summary>
    public void Check()
    {
        TakeAnswers();
        CheckReads();
        CheckChanges();
        CheckRecoveries();
    }

    /// <summary>What the leader has told is waited for.</summary>
    private void TakeAnswers()
    {
        foreach (var (acknowledged, answer) in _asked)
        {
            if (answer.IsCompletedSuccessfully)
            {
                group.World.Figures.Count(Figure.ReadOfFollower);
                AddRead(acknowledged, node.WaitForApplied(ResultOf(answer)));
            }
        }

        _asked.RemoveAll(static each => each.Answer.IsCompleted);
    }

    private void CheckReads()
    {
        for (var i = _reads.Count - 1; i >= 0; i--)
        {
            var (acknowledged, answer) = _reads[i];
            if (!answer.IsCompleted)
            {
                continue;
            }

            _reads.RemoveAt(i);
            if (answer.Exception is { InnerException: not BrokerException } failure)
            {
                throw failure;
            }

            if (answer.IsCompletedSuccessfully)
            {
                var index = ResultOf(answer);
                group.World.Figures.Count(Figure.LinearizableRead);
                var id = node.Id;
                World.Check(
                    index >= acknowledged && node.AppliedIndex >= index,
                    $"node {id}'s read of entry {index} misses entry {acknowledged}, acknowledged before it began");
            }
        }
    }

    /// <summary>A change that is answered has committed; one that is refused is the caller's to try again.</summary>
    private void CheckChanges()
    {
        for (var i = _changes.Count - 1; i >= 0; i--)
        {
            if (!_changes[i].IsCompleted)
            {
                continue;
            }

            var change = _changes[i];
            _changes.RemoveAt(i);
            if (change.Exception is { InnerException: not BrokerException } failure)
            {
                throw failure;
            }

            if (change.IsCompletedSuccessfully)
            {
                group.History.CheckCommitted(node, ResultOf(change));
            }
        }
    }

    /// <summary>A recovery that is answered has committed; one that is refused is the operator's to repeat.</summary>
    private void CheckRecoveries()
    {
        for (var i = _recoveries.Count - 1; i >= 0; i--)
        {
            if (!_recoveries[i].IsCompleted)
            {
                continue;
            }

            var answer = _recoveries[i];
            _recoveries.RemoveAt(i);
            if (answer.Exception is { InnerException: not BrokerException } failure)
            {
                throw failure;
            }

            if (answer.IsCompletedSuccessfully)
            {
                group.World.Figures.Count(Figure.RecoveryForced);
                var index = ResultOf(answer);
                World.Check(
                    node.DurableAt(index)?.Term == node.Term,
                    $"node {node.Id} says that a recovery has committed, by entry {index}");
            }
        }
    }

    [SuppressMessage("Usage", "VSTHRD002", Justification = "It has completed; and there is one thread only.")]
    public static T ResultOf<T>(Task<T> completed) => completed.GetAwaiter().GetResult();
}
