using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Delivery;

/// <summary>
/// Records that are finished by the command which publishes what was made of them: until it is known what came of the
/// command they come to nobody else. Any thread may ask; what the groups know is looked at and changed in the turns of
/// a <see cref="ShardGroups"/>, and whether records are finished is looked up on the thread that applies.
/// </summary>
/// <param name="shard">Where it is proposed.</param>
/// <param name="turns">Where it is begun and ended.</param>
/// <param name="queue">Hears which groups may give records again.</param>
/// <param name="servings">The groups that are served, by number.</param>
internal sealed class GroupPublishing(
    ShardPlace shard, ShardTurns turns, ServingQueue queue, IReadOnlyDictionary<int, GroupServing> servings)
{
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// As <see cref="ShardGroups.PublishAsync"/>, of groups that are loaded. Done when the command is proposed.
    /// </summary>
    public async Task PublishAsync(IReadOnlyList<TokenOrder> finished, Proposal command, Task outcome)
    {
        var proposed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        turns.Post(() =>
        {
            try
            {
                Begin(finished);
            }
            catch (BrokerException refusal)
            {
                proposed.TrySetException(refusal);
                return;
            }

            shard.Replica.Propose(command);
            turns.Run(() => EndAsync(finished, outcome, turns.Term));
            proposed.TrySetResult();
        });
        await proposed.Task;
    }

    private void Begin(IReadOnlyList<TokenOrder> finished)
    {
        var lost = new List<(int Order, long Offset)>();
        var offsets = new List<long>();
        for (var i = 0; i < finished.Count; i++)
        {
            if (!turns.Leads || !servings.TryGetValue(finished[i].Group, out var serving) || !serving.IsLoaded)
            {
                throw turns.WhoLeads(shard.Replica.Status);
            }

            offsets.Clear();
            serving.FindLost(finished[i].Token, offsets);
            lost.AddRange(offsets.Select(offset => (i, offset)));
        }

        if (lost.Count > 0)
        {
            throw Refusal.NotFinished(lost);
        }

        foreach (var order in finished)
        {
            servings[order.Group].BeginPublishing(order.Token);
        }
    }

    private async Task EndAsync(IReadOnlyList<TokenOrder> finished, Task outcome, Term term)
    {
        await outcome.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        var isDone = outcome.IsCompletedSuccessfully;
        if (outcome.Exception?.InnerException is BrokerException { Code: RefusalCode.OutcomeUnknown })
        {
            isDone = await FindOutcomeAsync(finished, term);
        }

        turns.Post(() =>
        {
            foreach (var order in term == turns.Term && turns.Leads ? finished : [])
            {
                if (servings.TryGetValue(order.Group, out var serving))
                {
                    serving.EndPublishing(order.Token, isDone);
                    queue.Touch(serving);
                }
            }
        });
    }

    /// <summary>
    /// The command may be in the log, and commit later. Until what is behind it has, its records come to nobody: then
    /// the shard says whether they are finished. False too if another node leads by then, which looks for itself.
    /// </summary>
    private async Task<bool> FindOutcomeAsync(IReadOnlyList<TokenOrder> finished, Term term)
    {
        while (shard.Replica.Status is { Role: RaftRole.Leader } status && status.Term == term)
        {
            try
            {
                await turns.PassAsync(finished[0].Group);
                var found = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
                shard.Replica.InTurn(() => found.TrySetResult(finished.All(IsFinished)));
                return await found.Task.WaitAsync(turns.Stopping);
            }
            catch (BrokerException)
            {
                // It does not commit yet, as the disk hangs or too few nodes are there.
                await Task.Delay(AskAgainAfter, shard.Time, turns.Stopping);
            }
        }

        return false;
    }

    private bool IsFinished(TokenOrder order)
    {
        var progress = shard.Progress.Groups.GetValueOrDefault(order.Group)?.Find(order.Token.Topic);
        var range = order.Token.Range;
        return progress?.Turn == order.Token.Turn && progress.Settled.FirstMissing(range.First) >= range.End;
    }
}
