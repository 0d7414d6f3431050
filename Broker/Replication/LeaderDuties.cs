using System.Buffers;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// What a leader proposes by itself because time has passed. The state machine is asked once a second, and again as
/// soon as everything that it asked for was applied, when that was as much as is proposed at a time.
/// </summary>
internal sealed class LeaderDuties(IGroupLoop loop, IStateMachine machine, ProposalQueue proposals, TimeProvider time)
{
    /// <summary>What is due and comes to nothing at once is asked for again after so long.</summary>
    private const long LeastWaitMs = 10;

    private readonly ArrayBufferWriter<byte> _command = new();
    private int _underWay;
    private bool _isMoreDue;

    /// <summary>How long until a duty is due that only waits for its time; null: none, or nobody knows yet.</summary>
    public long? DueInMs =>
        loop.Raft.Role == RaftRole.Leader && _underWay == 0 && machine.NextDutyUnixMs is < long.MaxValue and var due
            ? Math.Max(LeastWaitMs, due - time.GetUtcNow().ToUnixTimeMilliseconds())
            : null;

    /// <summary>Proposes what is due, unless what was due before is still under way.</summary>
    public void Propose()
    {
        if (loop.Raft.Role != RaftRole.Leader || _underWay > 0)
        {
            return;
        }

        var nowUnixMs = time.GetUtcNow().ToUnixTimeMilliseconds();
        while (_underWay < Limits.DutiesAtOnce && machine.TryWriteDuty(nowUnixMs, _command))
        {
            var duty = new Duty(this, _command.WrittenSpan.ToArray());
            _command.ResetWrittenCount();
            _underWay++;
            if (!proposals.TryAdmit(duty))
            {
                // The queue is full of publishes: later.
                return;
            }

            proposals.Enqueue(duty);
        }

        _isMoreDue = _underWay == Limits.DutiesAtOnce;
    }

    private void End()
    {
        if (--_underWay == 0 && _isMoreDue)
        {
            _isMoreDue = false;
            loop.Resume(Propose);
        }
    }

    private sealed class Duty(LeaderDuties owner, byte[] command) : Proposal
    {
        public override int SizeBytes => command.Length;

        public override void Encode(Span<byte> destination) => command.CopyTo(destination);

        public override void Complete(in CommandResult result) => owner.End();

        /// <summary>Whoever leads next is asked anew.</summary>
        public override void Fail(BrokerException refusal) => owner.End();
    }
}
