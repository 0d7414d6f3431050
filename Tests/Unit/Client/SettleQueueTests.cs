using Broker.Client;
using Broker.Client.Consuming;
using Broker.Protocol.Wire;
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
        _held = new TaskCompletionSource();
        var first = Enumerable.Range(0, 4).Select(_ => queue.SettleAsync(Ack(1), Stop).AsTask()).ToList();
        await UntilAsync(() => Count() > 0);
        var all = Enumerable.Range(0, 2_500).Select(_ => queue.SettleAsync(Ack(2), Stop).AsTask()).ToList();
        _held.SetResult();
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
            2 => new Settled { Status = (uint)StatusCode.NotFound, Reason = Reason.LeaseLost, Lost = 1 },
            3 => new Settled { Status = (uint)StatusCode.InvalidArgument, Reason = Reason.InvalidRequest },
            _ => ++tries < 4 ? new Settled { Status = (uint)StatusCode.Unavailable } : new Settled(),
        };
        var calls = Enumerable.Range(1, 4).Select(i => queue.SettleAsync(Ack((uint)i), Stop).AsTask()).ToList();
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

    private static Settlement Ack(uint first) => new()
    {
        Ack = new Ack { Ranges = { new DeliveredRange { Token = ByteString.CopyFromUtf8("t"), First = first } } },
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
