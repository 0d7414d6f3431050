using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Unit.GrpcCalls;

/// <summary>
/// Counts what the whole process allocates, since a call runs on many threads: so nothing else may run beside it.
/// </summary>
[Collection(AloneCollection.Name)]
public sealed class DecompressionBombTests
{
    private const int BombSizeBytes = 10_000_000;

    [Fact]
    public async Task A_response_that_unfolds_beyond_the_limit_is_RESOURCE_EXHAUSTED()
    {
        await using var server = await EchoServer.StartAsync(
            CompressionTests.Compressing, new GrpcChannelOptions { MaxReceiveMessageSize = 100_000 });
        server.Probe.OnUnary = static (_, _) => Task.FromResult(new byte[BombSizeBytes]);

        var before = GC.GetTotalAllocatedBytes();
        var failure = await EchoServer.FailureAsync(server.Unary([1]).ResponseAsync);

        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
        Assert.Contains("decompressed", failure.Status.Detail, StringComparison.Ordinal);

        // The server makes the message once; the client must not make it again.
        Assert.True(GC.GetTotalAllocatedBytes() - before < 2 * BombSizeBytes);
    }
}

/// <summary>Tests of this collection run when no other test does.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class AloneCollection
{
    public const string Name = "alone in the process";
}
