using Broker.Protocol.V1;
using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>What tests do as a client in any language would: by the contract, without the client library.</summary>
internal static class ForeignCalls
{
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(20);

    private static CancellationToken Test => TestContext.Current.CancellationToken;

    /// <summary>The reason from the contract's list; null: the error has no details.</summary>
    public static string? ReasonOf(RpcException refusal) => refusal.GetRpcStatus()?.GetDetail<ErrorInfo>()?.Reason;

    public static Task<RpcException> RefusedAsync<T>(StatusCode status, string reason, Func<Task<T>> call) =>
        RefusedAsync(status, reason, words: "", call);

    /// <summary>A call is refused with a status, a reason, and a sentence that has some words.</summary>
    public static async Task<RpcException> RefusedAsync<T>(
        StatusCode status, string reason, string words, Func<Task<T>> call)
    {
        var refusal = await Assert.ThrowsAsync<RpcException>(call);
        var info = refusal.GetRpcStatus()?.GetDetail<ErrorInfo>();
        Assert.Equal((status, "broker.v1", reason), (refusal.StatusCode, info?.Domain, info?.Reason));
        Assert.NotEmpty(refusal.Status.Detail);
        Assert.Contains(words, refusal.Status.Detail, StringComparison.Ordinal);
        return refusal;
    }

    /// <summary>Makes a call again while it ends with one of these, after which it may be sent again.</summary>
    public static async Task<T> RetryAsync<T>(Func<Task<T>> call, params StatusCode[] on)
    {
        while (true)
        {
            try
            {
                return await call();
            }
            catch (RpcException refusal) when (on.Contains(refusal.StatusCode))
            {
                await Task.Delay(RetryInterval, Test);
            }
        }
    }

    /// <summary>How many records a read gives until its end.</summary>
    public static async Task<long> CountAsync(GrpcChannel channel, ReadRequest request)
    {
        using var call = new Protocol.V1.Broker.BrokerClient(channel).Read(request, cancellationToken: Test);
        var count = 0L;
        while (await call.ResponseStream.MoveNext(Test))
        {
            count += call.ResponseStream.Current.Batches.Sum(static batch => batch.Count);
        }

        return count;
    }
}
