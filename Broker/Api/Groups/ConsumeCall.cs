using Broker.Client.Consuming;
using Broker.ClusterState;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Groups;
using Broker.Protocol.Wire;
using Google.Protobuf;
using Grpc.Core;

namespace Broker.Api;

/// <summary>
/// One stream of a consumer: what the group's session gives goes out, what the client says of it comes in. Each answer
/// is written when it is there; one writes at a time.
/// </summary>
internal sealed class ConsumeCall(
    ConsumerGroup group,
    string consumer,
    IGroupSession session,
    IConsumerGroups groups,
    CreditWindow? window,
    IAsyncStreamReader<ConsumeRequest> requests,
    IServerStreamWriter<ConsumeResponse> responses,
    BrokerMetrics metrics,
    TimeProvider time) : IDisposable
{
    private static readonly TimeSpan ExpiryInterval = TimeSpan.FromSeconds(1);

    private static readonly WriteOptions Flushed = new();

    // More is at hand: it leaves with that.
    private static readonly WriteOptions Held = new(WriteFlags.BufferHint);

    private readonly SemaphoreSlim _writing = new(1);
    private readonly SemaphoreSlim _settling = new(Limits.SettlesInFlightPerStream);

    private long Now => time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Answers that are under way find nobody to hear them.</summary>
    public void Dispose()
    {
        _writing.Dispose();
        _settling.Dispose();
    }

    /// <summary>Until the client has said all, or the group cannot be served any more.</summary>
    /// <exception cref="BrokerException">InvalidArgument; GroupDeleted, NoLeader: as the session ends.</exception>
    public async Task RunAsync(Credit? credit, CancellationToken cancellationToken)
    {
        await WriteAsync(new ConsumeResponse { Opened = Opened() }, Flushed, cancellationToken);
        var (records, bytes) = credit is null
            ? (Limits.GroupWindowRecords, Limits.GroupWindowBytes)
            : Bounded(credit);
        session.AddCredit(records, bytes);

        using var delivering = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var taking = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var deliveries = DeliverAsync(delivering.Token, cancellationToken);
        var said = TakeAsync(taking.Token, cancellationToken);
        var expiry = ExpireAsync(delivering.Token);
        try
        {
            if (await Task.WhenAny(deliveries, said) == deliveries)
            {
                await deliveries;
                throw Refusal.NoLeader(GroupId.Metadata);
            }

            await said;
        }
        finally
        {
            await delivering.CancelAsync();
            await taking.CancelAsync();
            await Task.WhenAll(deliveries, said, expiry).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static (int Records, long Bytes) Bounded(Credit credit) => (
        (int)Math.Min(credit.Records, Limits.GroupCreditRecords),
        (long)Math.Min(credit.Bytes, Limits.GroupCreditBytes));

    private ConsumeOpened Opened() => new()
    {
        Mode = (GroupMode)group.Settings.Mode,
        Filters = { group.Settings.Filters },
        Consumer = consumer,
        AckWaitMs = (ulong)group.Settings.AckWaitMs,
    };

    private async Task DeliverAsync(CancellationToken stop, CancellationToken cancellationToken)
    {
        await using var deliveries = session.ReadAsync(stop).GetAsyncEnumerator(stop);
        var next = deliveries.MoveNextAsync();
        while (await next)
        {
            var delivery = deliveries.Current;
            window?.Take(
                UnsafeByteOperations.UnsafeWrap(delivery.Token), delivery.Count, delivery.Batch.Length, Now);
            using var span = BrokerSpans.StartHandOver(
                "deliver", delivery.Topic, delivery.Batch.Span, delivery.BaseOffset, delivery.Count);
            next = deliveries.MoveNextAsync();
            await WriteAsync(
                new ConsumeResponse { Delivery = ToWire(delivery) },
                next.IsCompletedSuccessfully ? Held : Flushed,
                cancellationToken);
            metrics.Read(delivery.Count, delivery.Batch.Length);
        }
    }

    /// <summary>As it goes to the client, by a stream or by a fetch.</summary>
    public static Protocol.Wire.Delivery ToWire(in GroupDelivery delivery) => new()
    {
        Token = UnsafeByteOperations.UnsafeWrap(delivery.Token),
        Topic = delivery.Topic,
        Partition = (uint)delivery.Partition,
        BaseOffset = delivery.BaseOffset,
        TimestampUnixMs = delivery.TimestampUnixMs,
        Batch = UnsafeByteOperations.UnsafeWrap(delivery.Batch),
        Count = (uint)delivery.Count,
        Attempt = (uint)delivery.Attempt,
    };

    /// <summary>Takes what the client says until it has said all, and then waits for what it is to hear.</summary>
    private async Task TakeAsync(CancellationToken stop, CancellationToken cancellationToken)
    {
        while (await requests.MoveNext(stop))
        {
            var request = requests.Current;
            switch (request.RequestCase)
            {
                case ConsumeRequest.RequestOneofCase.Credit:
                    AddCredit(request.Credit);
                    break;
                case ConsumeRequest.RequestOneofCase.Ack:
                    await BeginAsync(SettleOrders.Of(request.Ack), cancellationToken);
                    break;
                case ConsumeRequest.RequestOneofCase.Nack:
                    await BeginAsync(SettleOrders.Of(request.Nack), cancellationToken);
                    break;
                case ConsumeRequest.RequestOneofCase.Extend:
                    await BeginAsync(SettleOrders.Of(request.Extend), cancellationToken);
                    break;
                case ConsumeRequest.RequestOneofCase.Terminate:
                    await BeginAsync(SettleOrders.Of(request.Terminate), cancellationToken);
                    break;
                default:
                    throw Refusal.InvalidArgument(
                        "A request of a consumer is empty, or opens it a second time; after the first one come credit, "
                        + "ack, nack, extend and terminate.");
            }
        }

        for (var left = Limits.SettlesInFlightPerStream; left > 0; left--)
        {
            await _settling.WaitAsync(cancellationToken);
        }
    }

    private void AddCredit(Credit credit)
    {
        if (window is not null)
        {
            throw Refusal.InvalidArgument(
                "The consumer was opened without credit, so the server keeps it; open it with credit to give more.");
        }

        var (records, bytes) = Bounded(credit);
        session.AddCredit(records, bytes);
    }

    private async ValueTask BeginAsync(SettleOrders orders, CancellationToken cancellationToken)
    {
        await _settling.WaitAsync(cancellationToken);
        _ = SettleAsync(orders, cancellationToken);
    }

    private async Task SettleAsync(SettleOrders orders, CancellationToken cancellationToken)
    {
        try
        {
            var outcomes = await groups.SettleAsync(orders.Orders, cancellationToken);
            GiveBack(orders.Orders, outcomes);
            var answer = orders.Answer(outcomes, 0);
            if (answer.Correlation != 0 || answer.Status != 0)
            {
                await WriteAsync(new ConsumeResponse { Settled = answer }, Flushed, cancellationToken);
            }
        }
        catch (Exception failure) when (
            failure is OperationCanceledException or RpcException or IOException or InvalidOperationException)
        {
            // The client is gone, or the call is over: who wants to know asks again by the tokens.
        }

        try
        {
            _settling.Release();
        }
        catch (ObjectDisposedException)
        {
            // The call is over.
        }
    }

    private void GiveBack(IReadOnlyList<SettleOrder> orders, IReadOnlyList<SettleOutcome> outcomes)
    {
        if (window is null)
        {
            return;
        }

        var (records, bytes) = (0, 0L);
        for (var i = 0; i < orders.Count; i++)
        {
            if (outcomes[i].Refusal is not null)
            {
                continue;
            }

            var token = UnsafeByteOperations.UnsafeWrap(orders[i].Token);
            if (orders[i].Kind == SettleKind.Extend && outcomes[i].Lost == 0)
            {
                window.Extend(token, orders[i].DelayMs, Now);
            }
            else if (orders[i].Kind != SettleKind.Extend)
            {
                var more = window.GiveBack(token, orders[i].First, orders[i].Count);
                (records, bytes) = (records + more.Records, bytes + more.Bytes);
            }
        }

        AddIfAny(records, bytes);
    }

    private async Task ExpireAsync(CancellationToken stop)
    {
        if (window is null)
        {
            return;
        }

        using var timer = new PeriodicTimer(ExpiryInterval, time);
        while (await timer.WaitForNextTickAsync(stop))
        {
            var more = window.Expire(Now);
            AddIfAny(more.Records, more.Bytes);
        }
    }

    private void AddIfAny(int records, long bytes)
    {
        if (records > 0)
        {
            session.AddCredit(records, bytes);
        }
    }

    private async Task WriteAsync(
        ConsumeResponse response, WriteOptions options, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken);
        try
        {
            responses.WriteOptions = options;
            await responses.WriteAsync(response, cancellationToken);
        }
        finally
        {
            _writing.Release();
        }
    }
}
