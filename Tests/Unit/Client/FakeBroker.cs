using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using Broker.Api;
using Broker.Domain;
using Broker.Protocol.Wire;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Broker.Tests.Unit.Client;

/// <summary>What a fake broker does with the next publish.</summary>
internal enum Fault
{
    None,
    RefuseUnavailable,
    RefuseOverloaded,
    RefuseInvalid,

    /// <summary>ABORTED, and it is stored.</summary>
    AbortStored,

    /// <summary>ABORTED, and it is not stored.</summary>
    AbortNotStored,

    /// <summary>Stored, and the stream breaks before the answer.</summary>
    StoreAndBreak,

    /// <summary>The stream breaks before anything is stored.</summary>
    Break,

    /// <summary>No answer ever.</summary>
    Swallow,
}

/// <summary>One node: a real gRPC server on a loopback port whose answers the test chooses.</summary>
internal sealed class FakeBroker(FakeCluster cluster, int index) : Protocol.Wire.Broker.BrokerBase, IAsyncDisposable
{
    private WebApplication? _app;
    private int _underWay;

    public Uri Address { get; private set; } = null!;

    /// <summary>Faults of the next publishes, one each; then <see cref="Always"/>.</summary>
    public ConcurrentQueue<Fault> Next { get; } = new();

    public Fault Always { get; set; }

    /// <summary>While set, answers wait for it.</summary>
    public TaskCompletionSource? Hold { get; set; }

    /// <summary>While set, publish streams are not read: a client's writes wait once they fill the window.</summary>
    public TaskCompletionSource? HoldMessages { get; set; }

    public ConcurrentQueue<PublishRequest> Publishes { get; } = new();

    /// <summary>How many publishes, and bytes of batches, each message of a stream brought.</summary>
    public ConcurrentQueue<(int Publishes, int Bytes)> Messages { get; } = new();

    /// <summary>The most publishes that were under way at a time.</summary>
    public int MostUnderWay { get; private set; }

    /// <summary>Breaks every read after so many batches; 0: never.</summary>
    public int BreakReadAfterBatches { get; set; }

    public int Reads;

    /// <summary>What every read is answered with; null: the records.</summary>
    public BrokerException? RefuseReads { get; set; }

    /// <summary>The header "authorization" of each call of PublishStream; empty: it had none.</summary>
    public ConcurrentQueue<string> Authorizations { get; } = new();

    public static async Task<FakeBroker> StartAsync(
        FakeCluster cluster, int index, int port = 0, X509Certificate2? certificate = null)
    {
        var broker = new FakeBroker(cluster, index);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k =>
            k.Listen(IPAddress.Loopback, port, l =>
            {
                l.Protocols = HttpProtocols.Http2;
                if (certificate is not null)
                {
                    l.UseHttps(certificate);
                }
            }));
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.Zero);
        builder.Services.AddGrpc(o => o.MaxReceiveMessageSize = 5 * 1024 * 1024);
        builder.Services.AddSingleton(broker);
        builder.Services.AddSingleton(new FakeAdmin(cluster, index));
        broker._app = builder.Build();
        broker._app.MapGrpcService<FakeBroker>();
        broker._app.MapGrpcService<FakeAdmin>();
        await broker._app.StartAsync();
        var addresses = broker._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!;
        broker.Address = new Uri(addresses.Addresses.First());
        return broker;
    }

    public override async Task PublishStream(
        IAsyncStreamReader<PublishStreamRequest> requestStream,
        IServerStreamWriter<PublishStreamResponse> responseStream,
        ServerCallContext context)
    {
        Authorizations.Enqueue(context.RequestHeaders.GetValue("authorization") ?? "");
        var answers = System.Threading.Channels.Channel.CreateUnbounded<PublishResult>();
        var writing = WriteAsync(answers.Reader, responseStream);
        try
        {
            while (await requestStream.MoveNext(context.CancellationToken))
            {
                await (HoldMessages?.Task ?? Task.CompletedTask);
                var publishes = requestStream.Current.Publishes;
                Messages.Enqueue((publishes.Count, publishes.Sum(each => each.Publish.Batch.Length)));
                foreach (var publish in publishes)
                {
                    Publishes.Enqueue(publish.Publish);
                    MostUnderWay = Math.Max(MostUnderWay, Interlocked.Increment(ref _underWay));
                    if (Judge(publish) is { } answer)
                    {
                        answers.Writer.TryWrite(answer);
                    }
                }
            }
        }
        finally
        {
            answers.Writer.Complete();
            await writing;
        }
    }

    public override async Task Read(
        ReadRequest request, IServerStreamWriter<ReadResponse> responseStream, ServerCallContext context)
    {
        Interlocked.Increment(ref Reads);
        if (RefuseReads is { } reason)
        {
            throw StatusMap.ToRpcException(reason);
        }

        var topic = cluster.Topic(request.Topic);
        if (topic is null && !request.Follow)
        {
            throw new RpcException(new Status(StatusCode.NotFound, $"There is no topic '{request.Topic}'."));
        }

        if (request.Offset > (topic?.Records.Count ?? 0) && !request.Follow)
        {
            throw new RpcException(new Status(StatusCode.OutOfRange, $"Offset {request.Offset} lies beyond the end."));
        }

        var (next, sent) = (request.Offset, 0);
        while (!context.CancellationToken.IsCancellationRequested)
        {
            foreach (var batch in cluster.BatchesFrom(request.Topic, next))
            {
                if (BreakReadAfterBatches > 0 && sent++ == BreakReadAfterBatches)
                {
                    throw new RpcException(new Status(StatusCode.Unavailable, "the test breaks this read"));
                }

                next = batch.BaseOffset + batch.Count;
                await responseStream.WriteAsync(new ReadResponse { Batches = { batch }, NextOffset = next });
            }

            if (cluster.BatchesFrom(request.Topic, next).Count == 0)
            {
                if (!request.Follow)
                {
                    return;
                }

                await Task.Delay(5, context.CancellationToken).ContinueWith(static _ => { }, TaskScheduler.Default);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        Hold?.TrySetResult();
        HoldMessages?.TrySetResult();
        await _app!.DisposeAsync();
    }

    private async Task WriteAsync(
        System.Threading.Channels.ChannelReader<PublishResult> answers,
        IServerStreamWriter<PublishStreamResponse> stream)
    {
        await foreach (var answer in answers.ReadAllAsync())
        {
            await (Hold?.Task ?? Task.CompletedTask);
            Interlocked.Decrement(ref _underWay);
            await stream.WriteAsync(new PublishStreamResponse { Results = { answer } });
        }
    }

    private PublishResult? Judge(StreamedPublish request)
    {
        var leads = cluster.Leader == index;
        if (!leads && !cluster.Forwards)
        {
            return Refusal(request, StatusCode.Unavailable, "This node does not lead.", 0, cluster.LeaderAddress);
        }

        var fault = Next.TryDequeue(out var next) ? next : Always;
        switch (fault)
        {
            case Fault.RefuseUnavailable:
                return Refusal(request, StatusCode.Unavailable, "There is no leader at the moment.", 0, null);
            case Fault.RefuseOverloaded:
                return Refusal(request, StatusCode.ResourceExhausted, "The queue is full.", 20, null);
            case Fault.RefuseInvalid:
                return Refusal(request, StatusCode.InvalidArgument, "The test does not like it.", 0, null);
            case Fault.AbortNotStored:
                return Refusal(request, StatusCode.Aborted, "Leadership moved.", 0, null);
            case Fault.Break:
                throw new RpcException(new Status(StatusCode.Unavailable, "the test breaks this stream"));
            case Fault.Swallow:
                return null;
            default:
                break;
        }

        var (code, message, response) = cluster.Store(request.Publish);
        return fault switch
        {
            Fault.StoreAndBreak =>
                throw new RpcException(new Status(StatusCode.Unavailable, "the test breaks this stream")),
            Fault.AbortStored => Refusal(request, StatusCode.Aborted, "Leadership moved.", 0, null),
            _ when code == StatusCode.OK =>
                new PublishResult { Correlation = request.Correlation, Response = response },
            _ => Refusal(request, code, message, 0, null),
        };
    }

    private static PublishResult Refusal(
        StreamedPublish request, StatusCode code, string message, uint retryAfterMs, NodeAddress? leader) => new()
        {
            Correlation = request.Correlation,
            Status = (uint)code,
            Message = message,
            RetryAfterMs = retryAfterMs,
            Leader = leader,
        };
}
