using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Broker.Cluster;
using Broker.Consensus;
using Broker.Domain;
using Broker.Groups;
using Broker.Replication;

namespace Broker.Delivery;

/// <summary>
/// The way into the turns of a <see cref="ShardGroups"/>, and out of them: what other threads hand in, what goes on
/// beside the turns, and commands. What comes of either is handed in again, and is heard in a turn.
/// </summary>
/// <param name="shard">Whose turns they are.</param>
internal sealed class ShardTurns(ShardPlace shard)
{
    private readonly ConcurrentQueue<Action> _inputs = new();

    /// <summary>The term in which this node leads, as of this turn; none: another node leads. Of the turns.</summary>
    public Term Term { get; set; }

    /// <summary>Then what goes on beside the turns ends, too. Set before the first turn.</summary>
    public CancellationToken Stopping { get; set; }

    /// <summary>Whether it is that term still. Of the turns.</summary>
    public bool Leads => shard.Replica.Status is { Role: RaftRole.Leader } status && status.Term == Term;

    /// <summary>Why this node does not serve groups.</summary>
    public BrokerException WhoLeads(GroupStatus status) => status.Leader.IsNone || status.Role == RaftRole.Leader
        ? Refusal.NoLeader(shard.Id)
        : Refusal.NotLeader(shard.Id, status.Leader);

    /// <summary>Hands in what is to be done in a turn. Any thread; does not block.</summary>
    public void Post(Action input)
    {
        _inputs.Enqueue(input);
        shard.News.Wake();
    }

    /// <summary>Does what was handed in. Of the turns.</summary>
    public void TakeInputs()
    {
        while (_inputs.TryDequeue(out var input))
        {
            input();
        }
    }

    /// <summary>
    /// Goes on beside the turns. What nobody foresaw ends the turns, which are begun anew, and told of.
    /// </summary>
    public void Run(Func<Task> work)
    {
        async Task Watch()
        {
            try
            {
                await work();
            }
            catch (Exception failure)
            {
                Post(() => ExceptionDispatchInfo.Throw(failure));
            }
        }

        _ = Watch();
    }

    /// <summary>
    /// Commits a command; what came of it is heard in a turn, unless another node leads by then. Of the turns.
    /// </summary>
    public void Propose(Action<IBufferWriter<byte>> write, Action<CommandResult> done)
    {
        var proposal = Propose(write);
        Run(() => HearAsync(proposal, Term, done));
    }

    /// <summary>Commits a command. Any thread.</summary>
    public EncodedProposal Propose(Action<IBufferWriter<byte>> write)
    {
        var command = new ArrayBufferWriter<byte>();
        write(command);
        var proposal = new EncodedProposal(command.WrittenMemory);
        shard.Replica.Propose(proposal);
        return proposal;
    }

    /// <summary>All is applied that was proposed here before. Any thread.</summary>
    /// <exception cref="BrokerException">Nobody knows, as whether a command was committed is not known.</exception>
    public Task<CommandResult> PassAsync(int group) =>
        Propose(into => GroupCommands.WriteBarrier(into, group)).Done.WaitAsync(Stopping);

    private async Task HearAsync(EncodedProposal proposal, Term term, Action<CommandResult> done)
    {
        CommandResult result;
        try
        {
            result = await proposal.Done;
        }
        catch (BrokerException refusal)
        {
            result = new CommandResult { Code = refusal.Code };
        }

        Post(() =>
        {
            if (term == Term && Leads)
            {
                done(result);
            }
        });
    }
}
