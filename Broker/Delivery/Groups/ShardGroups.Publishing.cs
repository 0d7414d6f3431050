using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;

namespace Broker.Delivery;

/// <content>Records that are finished by the command which publishes what was made of them.</content>
internal sealed partial class ShardGroups
{
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// Proposes a command that finishes records and publishes, if all of them are their consumers' still. Whether it
    /// takes effect is decided where it is applied: until then the records come to nobody else.
    /// </summary>
    /// <exception cref="BrokerException">
    /// Nothing is proposed. LeaseLost: some are not the consumer's any more. NotLeader, NoLeader. NotFound: a group was
    /// deleted.
    /// </exception>
    /// <param name="finished">The records.</param>
    /// <param name="command">What is proposed.</param>
    /// <param name="outcome">Ends well when it has taken effect.</param>
    /// <param name="cancellationToken">Ends the wait before it is proposed.</param>
    public async Task PublishAsync(
        IReadOnlyList<TokenOrder> finished, Proposal command, Task outcome, CancellationToken cancellationToken)
    {
        foreach (var group in finished.Select(static order => order.Group).Distinct())
        {
            await AskAsync<bool>(group, static (_, done) => done.TrySetResult(true), cancellationToken);
        }

        var proposed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() =>
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
            Run(() => EndAsync(finished, outcome, _term));
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
            if (!Leads || !_servings.TryGetValue(finished[i].Group, out var serving) || !serving.IsLoaded)
            {
                throw WhoLeads(shard.Replica.Status);
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
            _servings[order.Group].BeginPublishing(order.Token);
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

        Post(() =>
        {
            foreach (var order in term == _term && Leads ? finished : [])
            {
                if (_servings.TryGetValue(order.Group, out var serving))
                {
                    serving.EndPublishing(order.Token, isDone);
                    Touch(serving);
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
                await PassAsync(finished[0].Group);
                var found = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
                shard.Replica.InTurn(() => found.TrySetResult(finished.All(IsFinished)));
                return await found.Task.WaitAsync(_stopping);
            }
            catch (BrokerException)
            {
                // It does not commit yet, as the disk hangs or too few nodes are there.
                await Task.Delay(AskAgainAfter, shard.Time, _stopping);
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
