using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.Protocol.Wire;
using Broker.Replication;
using Google.Protobuf;
using Grpc.Core;

namespace Broker.Api;

/// <summary>The service broker.v1.Broker, in its wire form: batches stay bytes.</summary>
internal sealed partial class BrokerService(
    PublishRouter router,
    AtomicPublisher atomic,
    TopicReaders readers,
    GroupConsumers consumers,
    BrokerMetrics metrics,
    IHostApplicationLifetime lifetime)
    : Protocol.Wire.Broker.BrokerBase
{
    public override async Task<PublishResponse> Publish(PublishRequest request, ServerCallContext context)
    {
        var sink = new SingleAnswer();
        using (InputBatch.Begin())
        {
            router.Route(0, request, IsForwarded(context), sink, context.CancellationToken);
        }

        var answer = await sink.Task.WaitAsync(context.CancellationToken);
        return answer.Status == 0 ? answer.Response : throw StatusMap.ToRpcException(answer);
    }

    public override async Task<PublishAtomicResponse> PublishAtomic(
        PublishAtomicRequest request, ServerCallContext context)
    {
        try
        {
            return await atomic.PublishAsync(request, IsForwarded(context), context.CancellationToken);
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }

    public override async Task PublishStream(
        IAsyncStreamReader<PublishStreamRequest> requestStream,
        IServerStreamWriter<PublishStreamResponse> responseStream,
        ServerCallContext context)
    {
        using var ended = EndsWith(context);
        using var answers = new PublishAnswers(Limits.PublishesInFlightPerStream);
        var writing = answers.WriteAsync(responseStream, ended.Token);
        var forwarded = IsForwarded(context);
        try
        {
            while (await requestStream.MoveNext(ended.Token))
            {
                var publishes = requestStream.Current.Publishes;
                CheckCount(publishes.Count);
                for (var i = 0; i < publishes.Count;)
                {
                    await answers.ReserveAsync(ended.Token);
                    using var batch = InputBatch.Begin();
                    do
                    {
                        var next = publishes[i++];
                        router.Route(
                            next.Correlation, next.Publish ?? new PublishRequest(), forwarded, answers, ended.Token);
                    }
                    while (i < publishes.Count && answers.TryReserve());
                }
            }

            answers.NoMoreRequests();
            await writing;
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested)
        {
            throw Stopping();
        }
        finally
        {
            await ended.CancelAsync();
            await writing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public override Task Read(
        ReadRequest request, IServerStreamWriter<ReadResponse> responseStream, ServerCallContext context) =>
        ServeAsync(context, async ended =>
        {
            await foreach (var page in readers.ReadAsync(request, IsForwarded(context), ended))
            {
                await WriteAsync(request.Topic, page, responseStream, ended);
            }
        });

    public override Task Subscribe(
        SubscribeRequest request, IServerStreamWriter<SubscribeResponse> responseStream, ServerCallContext context) =>
        ServeAsync(context, async ended =>
        {
            await foreach (var item in readers.SubscribeAsync(request, ended))
            {
                await WriteAsync(item, responseStream, ended);
            }
        });

    /// <summary>A call that sends until it is at its end, its client goes, or the node stops.</summary>
    private async Task ServeAsync(ServerCallContext context, Func<CancellationToken, Task> send)
    {
        using var ended = EndsWith(context);
        try
        {
            await send(ended.Token);
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested)
        {
            throw Stopping();
        }
        catch (BrokerException refusal)
        {
            throw StatusMap.ToRpcException(refusal);
        }
    }

    private async Task WriteAsync(
        string topic, ReadPage page, IServerStreamWriter<ReadResponse> stream, CancellationToken cancellationToken)
    {
        using var span = StartSpan(topic, page);
        await stream.WriteAsync(ToResponse(page), cancellationToken);
        CountRead(page);
    }

    private async Task WriteAsync(
        SubscribedPage item, IServerStreamWriter<SubscribeResponse> stream, CancellationToken cancellationToken)
    {
        if (item.Page is not { } page)
        {
            var began = new SubscribeResponse { ResumeToken = UnsafeByteOperations.UnsafeWrap(item.ResumeToken) };
            await stream.WriteAsync(began, cancellationToken);
            return;
        }

        using var span = StartSpan(item.Topic, page);
        var response = new SubscribeResponse
        {
            Topic = item.Topic,
            Partition = (uint)item.Partition,
            Read = ToResponse(page),
        };
        await stream.WriteAsync(response, cancellationToken);
        CountRead(page);
    }

    private static System.Diagnostics.Activity? StartSpan(string topic, ReadPage page)
    {
        if (page.Batches.Count == 0)
        {
            return null;
        }

        var first = page.Batches[0];
        return BrokerSpans.StartHandOver("read", topic, first.Batch.Span, first.BaseOffset, first.Count);
    }

    private void CountRead(ReadPage page) => metrics.Read(
        page.Batches.Sum(batch => batch.Count), page.Batches.Sum(batch => (long)batch.Batch.Length));

    private static ReadResponse ToResponse(ReadPage page)
    {
        var response = new ReadResponse
        {
            NextOffset = page.NextOffset,
            HighWatermark = page.HighWatermark,
            TopicId = page.Topic.Value,
        };
        foreach (var batch in page.Batches)
        {
            response.Batches.Add(new StoredBatch
            {
                BaseOffset = batch.BaseOffset,
                TimestampUnixMs = batch.TimestampUnixMs,
                Count = (uint)batch.Count,
                Batch = UnsafeByteOperations.UnsafeWrap(batch.Batch),
            });
        }

        return response;
    }

    private static void CheckCount(int publishes)
    {
        if (publishes is 0 or > Limits.PublishesPerMessage)
        {
            throw StatusMap.ToRpcException(Refusal.InvalidArgument(
                $"A message of a publish stream holds 1 to {Limits.PublishesPerMessage:N0} publishes, not "
                + $"{publishes:N0}. What came before it has been taken."));
        }
    }

    /// <summary>
    /// A long call ends when its client goes, and when the node stops: the server would wait for it otherwise.
    /// </summary>
    private CancellationTokenSource EndsWith(ServerCallContext context) =>
        CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopping);

    private static RpcException Stopping() => StatusMap.ToRpcException(Refusal.Stopping());

    private static bool IsForwarded(ServerCallContext context) =>
        context.RequestHeaders.GetValue(LeaderForwarder.ForwardedHeader) is not null;
}
