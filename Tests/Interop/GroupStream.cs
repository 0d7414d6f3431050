using Broker.Protocol.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;
using GroupDelivery = Broker.Protocol.V1.Delivery;

namespace Broker.Tests.Interop;

/// <summary>A consumer of a group by the contract, without the client library.</summary>
internal sealed class GroupStream : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly AsyncDuplexStreamingCall<ConsumeRequest, ConsumeResponse> _call;
    private readonly Queue<GroupDelivery> _deliveries = new();
    private readonly Queue<Settled> _settled = new();
    private ulong _correlation;

    private GroupStream(AsyncDuplexStreamingCall<ConsumeRequest, ConsumeResponse> call) => _call = call;

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    public ConsumeOpened Opened { get; private set; } = null!;

    public static Task<GroupStream> OpenAsync(GrpcChannel channel, string group, params string[] filters) =>
        OpenAsync(channel, new ConsumeOpen { Group = group, Filters = { filters } });

    public static async Task<GroupStream> OpenAsync(GrpcChannel channel, ConsumeOpen open)
    {
        var stream = new GroupStream(new Protocol.V1.Broker.BrokerClient(channel).Consume(cancellationToken: Test));
        await stream.SendAsync(new ConsumeRequest { Open = open });
        Assert.True(await stream.MoveNextAsync(Patience));
        stream.Opened = stream._call.ResponseStream.Current.Opened;
        Assert.NotNull(stream.Opened);
        return stream;
    }

    public Task SendAsync(ConsumeRequest request) => _call.RequestStream.WriteAsync(request, Test);

    public Task CompleteAsync() => _call.RequestStream.CompleteAsync();

    /// <summary>The next delivery; null: none came in that time, or the stream has ended in order.</summary>
    public async Task<GroupDelivery?> NextAsync(double seconds = 20)
    {
        while (_deliveries.Count == 0)
        {
            if (!await TakeAsync(TimeSpan.FromSeconds(seconds)))
            {
                return null;
            }
        }

        return _deliveries.Dequeue();
    }

    /// <summary>Records until there are so many, as topic and offset, acknowledged if that is wanted.</summary>
    public async Task<List<(string Topic, long Offset, string Value)>> TakeAsync(int count, bool ack = true)
    {
        var records = new List<(string, long, string)>();
        while (records.Count < count)
        {
            var delivery = await NextAsync();
            Assert.True(delivery is not null, $"{records.Count} of {count} records came");
            records.AddRange(ValuesOf(delivery));
            if (ack)
            {
                Assert.Equal(0U, (await AckAsync(delivery)).Status);
            }
        }

        return records;
    }

    public static IEnumerable<(string Topic, long Offset, string Value)> ValuesOf(GroupDelivery delivery) =>
        delivery.Batch.Records.Select((record, i) =>
            (delivery.Topic, delivery.BaseOffset + i, record.Value.ToStringUtf8()));

    public Task<Settled> AckAsync(GroupDelivery delivery, uint first = 0, uint count = 0) => SettleAsync(
        correlation => new ConsumeRequest
        {
            Ack = new Ack { Correlation = correlation, Ranges = { RangeOf(delivery.Token, first, count) } },
        });

    public Task<Settled> NackAsync(GroupDelivery delivery, ulong? delayMs = null) => SettleAsync(
        correlation => new ConsumeRequest
        {
            Nack = new Nack
            {
                Correlation = correlation,
                Ranges = { RangeOf(delivery.Token) },
                DelayMs = delayMs,
            },
        });

    public Task<Settled> ExtendAsync(GroupDelivery delivery, ulong leaseMs) => SettleAsync(
        correlation => new ConsumeRequest
        {
            Extend = new Extend { Correlation = correlation, Ranges = { RangeOf(delivery.Token) }, LeaseMs = leaseMs },
        });

    public Task<Settled> TerminateAsync(GroupDelivery delivery, string reason) => SettleAsync(
        correlation => new ConsumeRequest
        {
            Terminate = new Terminate
            {
                Correlation = correlation,
                Ranges = { RangeOf(delivery.Token) },
                Reason = reason,
            },
        });

    public static DeliveredRange RangeOf(ByteString token, uint first = 0, uint count = 0) =>
        new() { Token = token, First = first, Count = count };

    public async Task<Settled> SettleAsync(Func<ulong, ConsumeRequest> request)
    {
        await SendAsync(request(++_correlation));
        return await SettledAsync();
    }

    /// <summary>The next answer to a request to settle.</summary>
    public async Task<Settled> SettledAsync()
    {
        while (_settled.Count == 0)
        {
            Assert.True(await TakeAsync(Patience), "no answer to a request to settle");
        }

        return _settled.Dequeue();
    }

    /// <summary>With which error the stream ends, before long.</summary>
    public async Task<RpcException> EndAsync(double seconds = 10)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        return await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (watch.Elapsed.TotalSeconds < seconds)
            {
                await TakeAsync(TimeSpan.FromSeconds(seconds));
            }
        });
    }

    public ValueTask DisposeAsync()
    {
        _call.Dispose();
        return ValueTask.CompletedTask;
    }

    private Task<bool>? _moving;

    private async Task<bool> MoveNextAsync(TimeSpan patience)
    {
        // One that came to nothing in its time goes on.
        _moving ??= _call.ResponseStream.MoveNext(Test);
        if (await Task.WhenAny(_moving, Task.Delay(patience, Test)) != _moving)
        {
            return false;
        }

        var moving = _moving;
        _moving = null;
        return await moving;
    }

    private async Task<bool> TakeAsync(TimeSpan patience)
    {
        if (!await MoveNextAsync(patience))
        {
            return false;
        }

        var response = _call.ResponseStream.Current;
        if (response.Delivery is { } delivery)
        {
            Assert.InRange(delivery.Token.Length, 1, 64);
            Assert.Equal((uint)delivery.Batch.Records.Count, delivery.Count);
            _deliveries.Enqueue(delivery);
        }
        else if (response.Settled is { } settled)
        {
            _settled.Enqueue(settled);
        }

        return true;
    }
}
