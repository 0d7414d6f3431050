using Broker.Tests.Unit.GrpcCalls;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using V1 = Grpc.Reflection.V1;
using V1Alpha = Grpc.Reflection.V1Alpha;

namespace Broker.Tests.Interop.GrpcCalls;

/// <summary>
/// Our server, called by other implementations of gRPC: what each check asks for stands in echo_client.py and
/// echo_client.js.
/// </summary>
public sealed class ForeignClientTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly TaskCompletionSource _cancelled = new();
    private readonly TaskCompletionSource _vanished = new();

    [Theory]
    [InlineData(ForeignProcess.Python, false)]
    [InlineData(ForeignProcess.Python, true)]
    [InlineData(ForeignProcess.Node, false)]
    [InlineData(ForeignProcess.Node, true)]
    public async Task A_foreign_client_is_served(string language, bool gzip)
    {
        await using var server = await EchoServer.StartAsync(
            options => options.ResponseCompressionAlgorithm = gzip ? "gzip" : null);
        server.Probe.OnUnary = AnswerAsync;
        server.Probe.OnChat = ConverseAsync;
        await using var client = await ForeignProcess.StartAsync(
            language, "echo_client", [new Uri(server.Address).Authority, .. gzip ? ["gzip"] : Array.Empty<string>()]);

        var (exitCode, text) = await client.WaitAsync(Patience);

        Assert.True(exitCode == 0, text);
        Assert.EndsWith("all passed", text.TrimEnd(), StringComparison.Ordinal);
        await _cancelled.Task.WaitAsync(EchoServer.Patience);
        await _vanished.Task.WaitAsync(EchoServer.Patience);
    }

    [Fact]
    public async Task A_foreign_client_finds_the_services_by_reflection_and_asks_for_their_health()
    {
        await using var server = await EchoServer.StartAsync(
            map: app =>
            {
                app.MapGrpcHealthChecksService();
                app.MapGrpcReflectionService();
            },
            register: services =>
            {
                services.AddGrpcHealthChecks().AddCheck(
                    "self", () => Microsoft.Extensions.Diagnostics.HealthChecks.HealthCheckResult.Healthy());
                services.AddGrpcReflection();
            });
        var contracts = Path.GetTempFileName();
        try
        {
            var known = new FileDescriptorSet
            {
                File =
                {
                    V1.ReflectionReflection.Descriptor.ToProto(), V1Alpha.ReflectionReflection.Descriptor.ToProto(),
                },
            };
            await File.WriteAllBytesAsync(contracts, known.ToByteArray(), TestContext.Current.CancellationToken);
            await using var client = await ForeignProcess.StartAsync(
                ForeignProcess.Node, "reflection_client", new Uri(server.Address).Authority, contracts);

            var (exitCode, text) = await client.WaitAsync(Patience);

            Assert.True(exitCode == 0, text);
        }
        finally
        {
            File.Delete(contracts);
        }
    }

    private static async Task<byte[]> AnswerAsync(byte[] request, ServerCallContext context)
    {
        switch (context.RequestHeaders.GetValue("act"))
        {
            case "fail":
                // A google.rpc.Status with the code 9 and the message "why".
                throw new RpcException(
                    new Status(StatusCode.FailedPrecondition, "Zustände 100 %"),
                    new Metadata { { "grpc-status-details-bin", [8, 9, 18, 3, .. "why"u8] } });
            case "throw":
                throw new FormatException();
            case "sleep":
                await Task.Delay(Timeout.Infinite, context.CancellationToken);
                break;
            case "metadata":
                await context.WriteResponseHeadersAsync(new Metadata
                {
                    { "seen", context.RequestHeaders.GetValue("text")! },
                    { "seen-bin", context.RequestHeaders.GetValueBytes("data-bin")! },
                });
                context.ResponseTrailers.Add("end", "the end");
                context.ResponseTrailers.Add("end-bin", [0, 255]);
                break;
        }

        return request;
    }

    private async Task ConverseAsync(
        IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context)
    {
        var end = context.RequestHeaders.GetValue("act") switch
        {
            "stay" => _cancelled,
            "vanish" => _vanished,
            _ => null,
        };
        using var registration = context.CancellationToken.Register(() => end?.TrySetResult());
        try
        {
            await foreach (var request in requests.ReadAllAsync())
            {
                await responses.WriteAsync(request);
            }
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException)
        {
            // The caller went before it ended its requests.
            end?.TrySetResult();
            throw;
        }

        await (end?.Task ?? Task.CompletedTask);
    }
}
