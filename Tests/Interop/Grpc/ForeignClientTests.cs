using Broker.Tests.Unit.GrpcCalls;
using Grpc.Core;
using Xunit;

namespace Broker.Tests.Interop.GrpcCalls;

/// <summary>
/// Our server, called by gRPC's C core through Python: what each check asks for stands in echo_client.py.
/// </summary>
public sealed class ForeignClientTests
{
    [Fact]
    public async Task A_client_on_the_C_core_is_served()
    {
        await using var server = await EchoServer.StartAsync();
        var cancelled = new TaskCompletionSource();
        server.Probe.OnUnary = AnswerAsync;
        server.Probe.OnChat = async (requests, responses, context) =>
        {
            using var registration = context.CancellationToken.Register(() => cancelled.TrySetResult());
            try
            {
                await foreach (var request in requests.ReadAllAsync())
                {
                    await responses.WriteAsync(request);
                }
            }
            catch (Exception exception) when (exception is IOException or OperationCanceledException)
            {
                // The caller cancelled before it ended its requests.
                cancelled.TrySetResult();
                throw;
            }

            if (context.RequestHeaders.GetValue("act") == "stay")
            {
                await cancelled.Task;
            }
        };
        await using var client = await PythonProcess.StartAsync("echo_client.py", new Uri(server.Address).Authority);

        var (exitCode, text) = await client.WaitAsync(TimeSpan.FromSeconds(60));

        Assert.True(exitCode == 0, text);
        Assert.EndsWith("all passed", text.TrimEnd(), StringComparison.Ordinal);
        await cancelled.Task.WaitAsync(EchoServer.Patience);
    }

    private static async Task<byte[]> AnswerAsync(byte[] request, ServerCallContext context)
    {
        switch (context.RequestHeaders.GetValue("act"))
        {
            case "fail":
                throw new RpcException(
                    new Status(StatusCode.FailedPrecondition, "Zustände 100 %"),
                    new Metadata { { "why-bin", [0, 255] } });
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
}
