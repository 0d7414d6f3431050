using Broker.Consensus;
using Broker.Domain;
using Broker.Protocol.V1;
using Broker.Transport;
using Google.Protobuf;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

public sealed class PeerOutboxTests
{
    private readonly ManualTime _time = new();
    private readonly PeerOutbox _outbox;

    public PeerOutboxTests() => _outbox = new PeerOutbox(_time);

    [Fact]
    public void The_kinds_are_those_of_Raft() => Assert.Equal(
        ((uint)RaftMessageKind.Heartbeat, (uint)RaftMessageKind.HeartbeatResponse),
        (PeerHeartbeats.HeartbeatKind, PeerHeartbeats.AnswerKind));

    [Fact]
    public void A_folded_heartbeat_unfolds_to_the_same_message()
    {
        var heartbeat = Heartbeat(group: 7, commit: 9, context: 4);
        heartbeat.LearnerSince = 3;
        var answer = Answer(group: 7, match: 8);
        answer.Reject = true;
        answer.Lost = true;
        answer.Hollow = 5;

        Assert.All(
            [heartbeat, answer],
            message => Assert.Equal(message, PeerHeartbeats.Unfold(PeerHeartbeats.TryFold(message)!, 1, 2)));
    }

    [Fact]
    public void A_message_with_a_field_that_the_short_form_has_not_travels_as_it_is()
    {
        Action<PeerMessage>[] changes =
        [
            message => message.Kind = (uint)RaftMessageKind.AppendEntries,
            message => message.LogIndex = 1,
            message => message.LogTerm = 1,
            message => message.RejectHint = 1,
            message => message.Force = true,
            message => message.Led = true,
            message => message.ConfigurationIndex = 1,
            message => message.Configuration = ByteString.CopyFromUtf8("x"),
            message => message.Entries.Add(new PeerEntry()),
        ];

        Assert.All(changes, change =>
        {
            var message = Heartbeat(1, 1);
            change(message);
            Assert.Null(PeerHeartbeats.TryFold(message));
        });
    }

    /// <summary>A new field of PeerMessage is either in the short form or in the list above.</summary>
    [Fact]
    public void Every_field_of_a_message_was_thought_of() => Assert.Equal(
        19, PeerMessage.Descriptor.Fields.InDeclarationOrder().Count);

    [Fact]
    public void Heartbeats_of_all_groups_leave_together_and_small()
    {
        for (var group = 0; group < 1_000; group++)
        {
            Assert.True(_outbox.TryAdd(Heartbeat((uint)group, commit: 50_000_000)));
        }

        Assert.False(_outbox.TryTake(PeerOutbox.EnvelopeBytes, out _));
        Assert.True(_outbox.TryMakeReady(out _));
        Assert.True(_outbox.TryTake(PeerOutbox.EnvelopeBytes, out var envelope));
        Assert.Equal(Enumerable.Range(0, 1_000), envelope.Heartbeats.Select(each => (int)each.Group));
        Assert.InRange(envelope.CalculateSize() / 1_000.0, 1, 16);
    }

    [Fact]
    public void A_newer_heartbeat_takes_the_place_of_one_that_still_waits()
    {
        _outbox.TryAdd(Heartbeat(1, commit: 10));
        _outbox.TryAdd(Answer(1, match: 20));
        _outbox.TryAdd(Heartbeat(2, commit: 30));
        _outbox.TryAdd(Heartbeat(1, commit: 11));
        _outbox.TryAdd(Answer(1, match: 21));

        Assert.Equal([(1, 11), (1, 21), (2, 30)], TakeHeartbeats());
    }

    [Fact]
    public void A_heartbeat_of_another_context_or_term_takes_no_place()
    {
        _outbox.TryAdd(Heartbeat(1, commit: 10));
        _outbox.TryAdd(Heartbeat(1, commit: 11, context: 5));
        _outbox.TryAdd(Heartbeat(1, commit: 12, context: 6));
        _outbox.TryAdd(Heartbeat(1, commit: 13, term: 301));

        Assert.Equal([(1, 10), (1, 11), (1, 12), (1, 13)], TakeHeartbeats());
    }

    [Fact]
    public void A_heartbeat_that_somebody_waits_for_leaves_at_once_and_takes_the_others_along()
    {
        _outbox.TryAdd(Heartbeat(1, commit: 10));
        _outbox.TryAdd(Heartbeat(2, commit: 10, context: 5));

        Assert.Equal([(1, 10), (2, 10)], TakeHeartbeats());
    }

    [Fact]
    public void Messages_keep_their_order_and_fill_envelopes()
    {
        for (var index = 1; index <= 5; index++)
        {
            _outbox.TryAdd(Append(index, 400 * 1024));
        }

        _outbox.TryAdd(Heartbeat(9, 1));
        Assert.True(_outbox.TryMakeReady(out var bytes));
        Assert.InRange(bytes, 5 * 400 * 1024, 5 * 401 * 1024);
        Assert.False(_outbox.TryTake(16 * 1024, out _), "the first is larger than what may be taken");
        Assert.True(_outbox.TryTake(PeerOutbox.EnvelopeBytes, out var first));
        Assert.True(_outbox.TryTake(PeerOutbox.EnvelopeBytes, out var second));
        Assert.True(_outbox.IsReady);
        Assert.True(_outbox.TryTake(PeerOutbox.EnvelopeBytes, out var third));
        Assert.False(_outbox.IsReady);

        Assert.Equal([1, 2], first.Messages.Select(each => each.LogIndex));
        Assert.Single(first.Heartbeats);
        Assert.Equal([3, 4], second.Messages.Select(each => each.LogIndex));
        Assert.Equal([5], third.Messages.Select(each => each.LogIndex));
    }

    [Fact]
    public void What_waits_is_bounded_in_bytes_and_number()
    {
        var taken = 0;
        while (_outbox.TryAdd(Append(1, 1024 * 1024)))
        {
            taken++;
        }

        Assert.InRange(taken, 60, 64);
        Assert.True(_outbox.TryMakeReady(out _));
        Assert.True(_outbox.TryTake(PeerOutbox.EnvelopeBytes, out _));
        Assert.True(_outbox.TryAdd(Append(1, 1024 * 1024)));

        _outbox.Clear();
        taken = 0;
        while (_outbox.TryAdd(Append(1, 0)))
        {
            taken++;
        }

        Assert.Equal(Limits.MessagesPerPeerQueue, taken);

        taken = 0;
        while (_outbox.TryAdd(Heartbeat(1, 1, context: taken + 1)))
        {
            taken++;
        }

        Assert.Equal(Limits.HeartbeatsPerPeerQueue, taken);
    }

    internal static PeerMessage Heartbeat(uint group, long commit, long context = 0, long term = 300) => new()
    {
        Group = group,
        Kind = PeerHeartbeats.HeartbeatKind,
        From = 1,
        To = 2,
        Term = term,
        CommitIndex = commit,
        Context = context,
    };

    internal static PeerMessage Answer(uint group, long match) => new()
    {
        Group = group,
        Kind = PeerHeartbeats.AnswerKind,
        From = 1,
        To = 2,
        Term = 300,
        LogIndex = match,
    };

    internal static PeerMessage Append(long index, int bodyBytes) => new()
    {
        Kind = (uint)RaftMessageKind.AppendEntries,
        LogIndex = index,
        Entries = { new PeerEntry { Body = ByteString.CopyFrom(new byte[bodyBytes]) } },
    };

    private List<(int Group, int Index)> TakeHeartbeats()
    {
        Assert.True(_outbox.TryMakeReady(out _));
        Assert.True(_outbox.TryTake(PeerOutbox.EnvelopeBytes, out var envelope));
        return [.. envelope.Heartbeats.Select(each => ((int)each.Group, (int)each.Index))];
    }
}
