using Broker.Client;
using Broker.Client.Consuming;
using Broker.Protocol.Wire;
using Broker.Tests.Unit.Storage;
using Google.Protobuf;
using Grpc.Core;
using Xunit;

namespace Broker.Tests.Unit.Client;

public sealed class SettleQueueTests
{
    private static readonly BrokerClientOptions Options = new()
    {
        OperationTimeout = TimeSpan.FromSeconds(20),
        RetryDelayMin = TimeSpan.FromMilliseconds(1),
    };

    private readonly List<SettleRequest> _sent = [];
    private Func<Settlement, Settled> _answer = static _ => new Settled();
    private TaskCompletionSource? _held;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_comes_while_calls_are_under_way_goes_together()
    {
        var queue = Queue();
        var (held, first) = await HoldAsync(queue);
        var all = Enumerable.Range(0, 2_500).Select(_ => queue.SettleAsync(Ack(2), Stop).AsTask()).ToList();
        held.SetResult();
        Assert.All(await Task.WhenAll([.. first, .. all]), Assert.True);
        Assert.Equal(2_504, _sent.Sum(static each => each.Settlements.Count));
        Assert.All(_sent, static each => Assert.InRange(each.Settlements.Count, 1, 1_000));
        Assert.InRange(_sent.Count, 4, 20);
    }

    [Fact]
    public async Task Each_hears_what_came_of_its_own_and_what_nobody_could_do_is_sent_again()
    {
        var queue = Queue();
        var tries = 0;
        _answer = settlement => settlement.Ack.Ranges[0].First switch
        {
            1 => new Settled(),
            4 => new Settled { Status = (uint)StatusCode.NotFound, Reason = Reason.LeaseLost, Lost = 1 },
            9 => new Settled { Status = (uint)StatusCode.InvalidArgument, Reason = Reason.InvalidRequest },
            _ => ++tries < 4 ? new Settled { Status = (uint)StatusCode.Unavailable } : new Settled(),
        };
        var calls = Enumerable.Range(1, 4).Select(i => queue.SettleAsync(Ack(i * i), Stop).AsTask()).ToList();
        Assert.True(await calls[0]);
        Assert.False(await calls[1]);
        var refused = await Assert.ThrowsAsync<BrokerClientException>(() => calls[2]);
        Assert.Equal((BrokerClientErrorCode.InvalidArgument, "INVALID_REQUEST"), (refused.Code, refused.Reason));
        Assert.True(await calls[3]);
        Assert.Equal(4, tries);
    }

    [Fact]
    public async Task A_call_that_fails_for_good_fails_its_own_and_the_queue_goes_on()
    {
        var queue = Queue();
        _answer = static _ => throw new BrokerClientException("no", BrokerClientErrorCode.Unavailable);
        await Assert.ThrowsAsync<BrokerClientException>(() => queue.SettleAsync(Ack(1), Stop).AsTask());
        _answer = static _ => new Settled();
        Assert.True(await queue.SettleAsync(Ack(1), Stop));
    }

    [Fact]
    public async Task Few_that_come_while_a_call_is_under_way_wait_for_its_end_but_not_for_long_and_many_do_not()
    {
        var time = new ManualClock();
        var queue = new SettleQueue(SendAsync, Options, time);
        _held = new TaskCompletionSource();
        var all = new List<Task<bool>> { queue.SettleAsync(Ack(1), Stop).AsTask() };
        await UntilAsync(() => Count() == 1);
        all.AddRange(Enumerable.Range(0, 99).Select(_ => queue.SettleAsync(Ack(1), Stop).AsTask()));
        time.Advance(TimeSpan.FromMilliseconds(19));
        Assert.Equal(1, Count());

        // The 100th; and one that the call of these does not take with it.
        all.Add(queue.SettleAsync(Ack(1), Stop).AsTask());
        await UntilAsync(() => Count() == 2);
        all.Add(queue.SettleAsync(Ack(1), Stop).AsTask());
        Assert.Equal(2, Count());
        time.Advance(TimeSpan.FromMilliseconds(1));
        await UntilAsync(() => Count() == 3);
        _held.SetResult();
        Assert.All(await Task.WhenAll(all), Assert.True);
        Assert.Equal([1, 100, 1], _sent.Select(static each => each.Settlements.Count));
    }

    [Fact]
    public async Task Records_of_one_delivery_that_follow_each_other_are_one_item()
    {
        var queue = Queue();
        var (held, first) = await HoldAsync(queue);
        var all = new List<Task<bool>>();
        for (var position = 0; position < 5; position++)
        {
            all.Add(queue.SettleAsync(Ack(position), Stop).AsTask());
        }

        // A gap, another delivery, another lease, and another word each begin a new item.
        var minute = TimeSpan.FromMinutes(1);
        all.AddRange(
        [
            queue.SettleAsync(Ack(6), Stop).AsTask(),
            queue.SettleAsync(Ack(7, "other"), Stop).AsTask(),
            queue.SettleAsync(Ack(8, "other"), Stop).AsTask(),
            queue.SettleAsync(Of(GroupSettlementKind.Extend, 9, "other"), Stop).AsTask(),
            queue.SettleAsync(Of(GroupSettlementKind.Extend, 10, "other") with { Time = minute }, Stop).AsTask(),
            queue.SettleAsync(Of(GroupSettlementKind.Extend, 11, "other") with { Time = minute }, Stop).AsTask(),
            queue.SettleAsync(Of(GroupSettlementKind.Nack, 12, "other"), Stop).AsTask(),
        ]);
        held.SetResult();
        Assert.All(await Task.WhenAll([.. first, .. all]), Assert.True);
        var items = Assert.Single(_sent, static each => each.Settlements.Count > 1).Settlements;
        Assert.Equal(
            ["t 0 5", "t 6 1", "other 7 2", "other 9 1", "other 10 2", "other 12 1"],
            items.Select(static each => Ranges(each)).Select(
                static each => $"{each.Token.ToStringUtf8()} {each.First} {each.Count}"));
        Assert.Equal([0UL, 60_000UL], items.Skip(3).Take(2).Select(static each => each.Extend.LeaseMs));
    }

    [Fact]
    public async Task Of_a_run_that_is_lost_in_part_each_record_is_asked_about_by_itself()
    {
        var queue = Queue();
        _answer = static settlement =>
        {
            var range = settlement.Ack.Ranges[0];
            var lost = (uint)Enumerable.Range((int)range.First, (int)range.Count).Count(static at => at is 2 or 7);
            return lost == 0 ? new Settled() : new Settled { Status = (uint)StatusCode.NotFound, Lost = lost };
        };
        var (held, first) = await HoldAsync(queue);
        var all = Enumerable.Range(0, 6).Select(i => queue.SettleAsync(Ack(i), Stop).AsTask()).ToList();
        all.Add(queue.SettleAsync(Ack(7), Stop).AsTask());
        held.SetResult();
        await Task.WhenAll(first);
        var answers = await Task.WhenAll(all);
        Assert.Equal([true, true, false, true, true, true, false], answers);
        Assert.Equal([1U, 1U, 1U, 1U, 1U, 1U, 1U, 6U], _sent.SelectMany(static each => each.Settlements)
            .Select(static each => each.Ack.Ranges[0])
            .Where(static each => each.Token.ToStringUtf8() == "t")
            .Select(static each => each.Count)
            .Order());
    }

    [Fact]
    public async Task Who_stops_waiting_does_not_take_what_others_are_told()
    {
        var queue = Queue();
        _answer = static settlement => settlement.Ack.Ranges[0].First % 2 == 0
            ? new Settled()
            : new Settled { Status = (uint)StatusCode.NotFound, Lost = 1 };
        for (var round = 0; round < 20; round++)
        {
            _held = new TaskCompletionSource();
            using var stop = new CancellationTokenSource();
            var gone = queue.SettleAsync(Ack(1), stop.Token).AsTask();
            await stop.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => gone);
            var others = Enumerable.Range(0, 50).Select(i => queue.SettleAsync(Ack(100 - i), Stop).AsTask()).ToList();
            _held.SetResult();
            Assert.Equal(Enumerable.Range(0, 50).Select(static i => i % 2 == 0), await Task.WhenAll(others));
        }
    }

    [Fact]
    public async Task What_is_under_way_is_heard_of_when_the_queue_is_disposed_and_nothing_begins()
    {
        var queue = Queue();
        _held = new TaskCompletionSource();
        var first = queue.SettleAsync(Ack(1), Stop).AsTask();
        await UntilAsync(() => Count() == 1);
        var second = queue.SettleAsync(Ack(2), Stop).AsTask();
        queue.Dispose();
        _held.SetResult();
        Assert.True(await first);
        Assert.True(await second);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => queue.SettleAsync(Ack(3), Stop).AsTask());
    }

    /// <summary>All calls that may be under way are, and do not end yet.</summary>
    private async Task<(TaskCompletionSource Held, List<Task<bool>> First)> HoldAsync(SettleQueue queue)
    {
        var held = _held = new TaskCompletionSource();
        var first = new List<Task<bool>>();
        for (var call = 1; call <= 4; call++)
        {
            // Behind a call that hangs the next one begins when it has waited for a moment.
            first.Add(queue.SettleAsync(Ack(1_000, $"first {call}"), Stop).AsTask());
            await UntilAsync(() => Count() == call);
        }

        return (held, first);
    }

    private static RecordSettlement Ack(int position, string token = "t") =>
        Of(GroupSettlementKind.Ack, position, token);

    private static RecordSettlement Of(GroupSettlementKind kind, int position, string token) =>
        new(kind, ByteString.CopyFromUtf8(token), position);

    private static DeliveredRange Ranges(Settlement settlement) => settlement.SettlementCase switch
    {
        Settlement.SettlementOneofCase.Ack => settlement.Ack.Ranges[0],
        Settlement.SettlementOneofCase.Nack => settlement.Nack.Ranges[0],
        _ => settlement.Extend.Ranges[0],
    };

    private static async Task UntilAsync(Func<bool> condition)
    {
        while (!condition())
        {
            await Task.Delay(1, Stop);
        }
    }

    private SettleQueue Queue() => new(SendAsync, Options, TimeProvider.System);

    private int Count()
    {
        lock (_sent)
        {
            return _sent.Count;
        }
    }

    private async Task<SettleResponse> SendAsync(SettleRequest request)
    {
        lock (_sent)
        {
            _sent.Add(request);
        }

        await (_held?.Task ?? Task.CompletedTask);
        return new SettleResponse { Results = { request.Settlements.Select(each => _answer(each)).ToList() } };
    }
}
