using System.Globalization;
using System.Text;
using Broker.Client.Consuming;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.Wire;
using Grpc.Core;
using SettleRequest = Broker.Protocol.Wire.SettleRequest;

namespace Broker.Api;

/// <summary>Consumers of groups: those with a stream, and those that fetch and settle call by call.</summary>
internal sealed class GroupConsumers(
    GroupRegistry registry, IConsumerGroups groups, BrokerMetrics metrics, TimeProvider time)
{
    /// <exception cref="BrokerException">As the contract has it for Consume.</exception>
    public async Task ConsumeAsync(
        IAsyncStreamReader<ConsumeRequest> requests,
        IServerStreamWriter<ConsumeResponse> responses,
        CancellationToken cancellationToken)
    {
        if (!await requests.MoveNext(cancellationToken))
        {
            return;
        }

        if (requests.Current.RequestCase != ConsumeRequest.RequestOneofCase.Open)
        {
            throw Refusal.InvalidArgument("The first request of a consumer is open: it names the group.");
        }

        var open = requests.Current.Open;
        var consumer = NameOf(open.Consumer);
        var group = await registry.FindOrMakeAsync(open.Group, (int)open.Mode, open.Filters, cancellationToken);
        try
        {
            await using var session = groups.Open(group, consumer);
            using var call = new ConsumeCall(
                group,
                consumer,
                session,
                groups,
                open.Credit is null ? new CreditWindow(group.Settings.AckWaitMs) : null,
                requests,
                responses,
                metrics,
                time);
            await call.RunAsync(open.Credit, cancellationToken);
        }
        catch (BrokerException refusal) when (refusal.Code == RefusalCode.NotFound)
        {
            throw Refusal.GroupDeleted(group.Name);
        }
    }

    /// <exception cref="BrokerException">As the contract has it for Fetch.</exception>
    public async Task<FetchResponse> FetchAsync(FetchRequest request, CancellationToken cancellationToken)
    {
        var consumer = NameOf(request.Consumer);
        var group = await registry.FindOrMakeAsync(
            request.Group, (int)request.Mode, request.Filters, cancellationToken);
        var response = new FetchResponse { AckWaitMs = (ulong)group.Settings.AckWaitMs };
        var records = request.MaxRecords == 0
            ? Limits.DefaultRecordsPerFetch
            : (int)Math.Min(request.MaxRecords, Limits.GroupCreditRecords);
        var bytes = request.MaxBytes == 0
            ? Limits.DefaultBytesPerFetch
            : (long)Math.Min(request.MaxBytes, Limits.BytesPerFetch);
        var wait = Math.Clamp(request.WaitMs, Limits.LeastFetchWaitMs, Limits.FetchWaitMs);
        try
        {
            await using var session = groups.Open(group, consumer);
            session.AddCredit(records, bytes);
            var fetch = new FetchCall(session, groups, records, bytes, TimeSpan.FromMilliseconds(wait), time);
            await foreach (var delivery in fetch.ReadAsync(cancellationToken))
            {
                response.Deliveries.Add(ConsumeCall.ToWire(delivery));
                metrics.Read(delivery.Count, delivery.Batch.Length);
            }
        }
        catch (BrokerException refusal) when (refusal.Code == RefusalCode.NotFound)
        {
            throw Refusal.GroupDeleted(group.Name);
        }

        return response;
    }

    /// <exception cref="BrokerException">InvalidArgument.</exception>
    public async Task<SettleResponse> SettleAsync(SettleRequest request, CancellationToken cancellationToken)
    {
        if (request.Settlements.Count is 0 or > Limits.RangesPerSettle)
        {
            throw Refusal.InvalidArgument(
                $"A request to settle has 1 to {Limits.RangesPerSettle:N0} items, not {request.Settlements.Count:N0}.");
        }

        var items = request.Settlements.Select(SettleOrders.Of).ToList();
        var outcomes = await groups.SettleAsync(
            [.. items.SelectMany(static item => item.Orders)], cancellationToken);
        var response = new SettleResponse();
        var from = 0;
        foreach (var item in items)
        {
            response.Results.Add(item.Answer(outcomes, from));
            from += item.Orders.Count;
        }

        return response;
    }

    private static string NameOf(string consumer)
    {
        if (consumer.Length == 0)
        {
            return $"consumer-{Random.Shared.Next().ToString("x8", CultureInfo.InvariantCulture)}";
        }

        return Encoding.UTF8.GetByteCount(consumer) <= Limits.ConsumerNameBytes
            && !consumer.Contains('\uFFFD', StringComparison.Ordinal)
            ? consumer
            : throw Refusal.InvalidArgument(
                $"A consumer's name has at most {Limits.ConsumerNameBytes} bytes of UTF-8; this one has "
                + $"{Encoding.UTF8.GetByteCount(consumer)}, or the replacement character U+FFFD.");
    }
}
