using Broker.Protocol.Wire;
using Google.Protobuf;
using Grpc.Core;

namespace Broker.Tests.Benchmarks;

/// <summary>The broker's hot-path contract with nothing behind it: what is left is the cost of gRPC.</summary>
internal sealed class LoopbackService : Protocol.Wire.Broker.BrokerBase
{
    private static readonly ByteString Batch = ByteString.CopyFrom(new byte[GrpcVerb.MessageSizeBytes]);

    public override Task<PublishResponse> Publish(PublishRequest request, ServerCallContext context) =>
        Task.FromResult(new PublishResponse { BaseOffset = request.Batch.Length });

    /// <summary>Takes everything and answers once, with the number of bytes.</summary>
    public override async Task PublishStream(
        IAsyncStreamReader<PublishStreamRequest> requestStream,
        IServerStreamWriter<PublishStreamResponse> responseStream,
        ServerCallContext context)
    {
        long bytes = 0;
        while (await requestStream.MoveNext(context.CancellationToken))
        {
            foreach (var publish in requestStream.Current.Publishes)
            {
                bytes += publish.Publish.Batch.Length;
            }
        }

        await responseStream.WriteAsync(
            new PublishStreamResponse { Results = { new PublishResult { Correlation = (ulong)bytes } } });
    }

    /// <summary>Sends as many messages as the offset says.</summary>
    public override async Task Read(
        ReadRequest request, IServerStreamWriter<ReadResponse> responseStream, ServerCallContext context)
    {
        for (long i = 0; i < request.Offset; i++)
        {
            await responseStream.WriteAsync(
                new ReadResponse { NextOffset = i, Batches = { new StoredBatch { BaseOffset = i, Batch = Batch } } });
        }
    }
}
