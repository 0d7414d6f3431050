using System.Diagnostics;
using Broker.Client;
using Broker.Client.Tracing;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.ServiceDefaults;
using Broker.Tests.Unit.Topics;
using Xunit;

namespace Broker.Tests.Unit.Replication;

[Collection(nameof(TelemetryAlone))]
public sealed class TraceTests
{
    private const string Node = "Broker.Node";

    [Fact]
    public void A_traced_publish_has_spans_on_the_leader_and_on_both_followers()
    {
        var group = new TestGroup(3);
        group.RunUntilEven();
        using var spans = new SpanList(Node);
        var publish = NewContext();

        group.Propose(Command(publish));
        group.RunUntilEven();

        var found = spans.Of(publish.TraceId);
        Assert.All(found, span => Assert.Equal(publish.SpanId, span.ParentSpanId));
        Assert.All(found, span => Assert.Equal("orders", span.GetTagItem("messaging.destination.name")));
        Assert.Equal(
            [
                ("append orders", "follower", 2), ("append orders", "leader", 1), ("apply orders", "follower", 2),
                ("apply orders", "leader", 1), ("quorum orders", "leader", 1),
            ],
            found.GroupBy(span => (span.OperationName, Role: (string)span.GetTagItem("broker.role")!))
                .Select(same => (same.Key.OperationName, same.Key.Role, same.Count())).Order());
        Assert.All(
            found.Where(span => span.OperationName == "append orders"),
            span => Assert.True(span.Duration > TimeSpan.Zero, "a flush takes time"));
    }

    [Fact]
    public void A_publish_whose_trace_is_not_recorded_has_no_spans()
    {
        var group = new TestGroup(3);
        using var spans = new SpanList(Node);
        var publish = new ActivityContext(
            ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom(), ActivityTraceFlags.None);

        group.Propose(Command(publish));
        group.RunUntilEven();

        Assert.Empty(spans.Of(publish.TraceId));
    }

    [Fact]
    public void Each_of_a_few_publishes_in_one_entry_has_its_spans_and_more_than_a_few_have_none()
    {
        var group = new TestGroup(3);
        var leader = group.RunUntilLed();
        group.RunUntilEven();
        using var spans = new SpanList(Node);
        var publishes = Enumerable.Range(0, 20).Select(_ => NewContext()).ToList();
        var proposals = publishes.ConvertAll(publish => new CommandProposal(Command(publish)));

        proposals.ForEach(leader.Group.Propose);
        group.RunUntil(() => proposals.TrueForAll(proposal => proposal.IsAnswered), "all are answered");

        var quorums = publishes.ConvertAll(
            publish => spans.Of(publish.TraceId).Count(span => span.OperationName == "quorum orders"));
        Assert.Equal(Enumerable.Repeat(1, Limits.TracedPublishesPerEntry), quorums.Where(count => count > 0));
    }

    [Fact]
    public void What_was_truncated_and_is_never_applied_here_tells_nothing()
    {
        var group = new TestGroup(3);
        var leader = group.RunUntilLed();
        group.RunUntilEven();
        using var spans = new SpanList(Node);
        group.Cut(leader);
        var lost = NewContext();
        leader.Group.Propose(new CommandProposal(Command(lost)));
        group.RunUntil(() => group.Leader is { } other && other != leader, "another one leads");
        var kept = NewContext();
        group.Propose(Command(kept));

        group.Heal();
        group.RunUntilEven();

        Assert.Empty(spans.Of(lost.TraceId));
        Assert.Equal(3, spans.Of(kept.TraceId).Count(span => span.OperationName == "apply orders"));
    }

    [Fact]
    public void Who_listens_changes_no_state()
    {
        var commands = Enumerable.Range(0, 20).Select(_ => Command(NewContext())).ToList();

        var quiet = HashAfter(commands);
        using var spans = new SpanList(Node);

        Assert.Equal(quiet, HashAfter(commands));
    }

    [Fact]
    public void Without_a_listener_tracing_allocates_nothing()
    {
        var group = new TestGroup(1);
        var traces = new EntryTraces(new GroupId(1), group[1].Machine, TimeProvider.System);
        var entry = new Entries(100).Of(Command(NewContext()));
        var batch = RecordBatchEncoder.Encode([new BrokerMessage()]);

        var bytes = Allocated(() =>
        {
            traces.Appended(entry, isLeader: true);
            BrokerSpans.StartHandOver("read", "orders", batch, 0, 1)?.Dispose();
            MessageSpan.LeaveTrace().Dispose();
            Assert.False(ClientSpans.IsWanted);
        });

        Assert.Equal(0, bytes);
    }

    private static long Allocated(Action work)
    {
        work();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            work();
        }

        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private static ulong HashAfter(List<byte[]> commands)
    {
        var group = new TestGroup(3);
        group.RunUntilEven();
        commands.ForEach(command => group.Propose(command));
        group.RunUntilEven();
        return group.Leader!.Machine.StateHash;
    }

    private static ActivityContext NewContext() =>
        new(ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom(), ActivityTraceFlags.Recorded);

    private static byte[] Command(ActivityContext context) => Entries.PublishCommand(
        "orders", RecordBatchEncoder.Encode([TraceHeader.Add(new BrokerMessage { Value = "a"u8.ToArray() }, context)]));
}
