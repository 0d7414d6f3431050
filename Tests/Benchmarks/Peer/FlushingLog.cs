using DotNext.IO.Log;
using DotNext.Net.Cluster.Consensus.Raft;
using DotNext.Net.Cluster.Consensus.Raft.StateMachine;

namespace Broker.Tests.Benchmarks.Peer;

/// <summary>
/// DotNext's log, but a follower's append is over only when it is flushed. As it comes, the log wakes its flusher and
/// lets the follower answer at once; the leader counts that answer as a stored copy (Raft thesis 3.8: a server must
/// persist entries before it answers). No setting changes it, so the interface is implemented again.
/// </summary>
internal sealed class FlushingLog(WriteAheadLog.Options options, IStateMachine stateMachine)
    : WriteAheadLog(options, stateMachine), IAuditTrail<IRaftLogEntry>
{
    async ValueTask IAuditTrail<IRaftLogEntry>.AppendAsync<TEntry>(
        ILogEntryProducer<TEntry> entries, long startIndex, bool skipCommitted, CancellationToken token)
    {
        await AppendAsync(entries, startIndex, skipCommitted, token);
        await FlushAsync(token);
    }
}
