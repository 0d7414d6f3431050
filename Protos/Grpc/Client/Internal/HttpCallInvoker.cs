using Grpc.Core;

namespace Grpc.Net.Client.Internal;

/// <summary>Starts calls on a channel.</summary>
internal sealed class HttpCallInvoker(GrpcChannel channel) : CallInvoker
{
    private static readonly Func<object, Task<Metadata>> Headers = static state =>
        ((ClientCall)state).ResponseHeadersAsync;
    private static readonly Func<object, Status> Status = static state => ((ClientCall)state).GetStatus();
    private static readonly Func<object, Metadata> Trailers = static state => ((ClientCall)state).GetTrailers();
    private static readonly Action<object> Dispose = static state => ((ClientCall)state).Dispose();

    public override TResponse BlockingUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        using var call = AsyncUnaryCall(method, host, options, request);
        // The signature of generated code blocks; nothing in the call needs the caller's thread.
#pragma warning disable VSTHRD002
        return call.GetAwaiter().GetResult();
#pragma warning restore VSTHRD002
    }

    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        var call = new ClientCall<TRequest, TResponse>(channel, method, options);
        call.SendSingle(request);
        return new AsyncUnaryCall<TResponse>(call.ReadSingleAsync(), Headers, Status, Trailers, Dispose, call);
    }

    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        var call = new ClientCall<TRequest, TResponse>(channel, method, options);
        call.SendSingle(request);
        return new AsyncServerStreamingCall<TResponse>(call.Reader, Headers, Status, Trailers, Dispose, call);
    }

    public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        var call = new ClientCall<TRequest, TResponse>(channel, method, options);
        var writer = call.SendStream();
        return new AsyncClientStreamingCall<TRequest, TResponse>(
            writer, Observe(call.ReadSingleAsync()), Headers, Status, Trailers, Dispose, call);
    }

    public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        var call = new ClientCall<TRequest, TResponse>(channel, method, options);
        var writer = call.SendStream();
        return new AsyncDuplexStreamingCall<TRequest, TResponse>(
            writer, call.Reader, Headers, Status, Trailers, Dispose, call);
    }

    /// <summary>A caller whose write fails has heard of the failure and may never look at the response.</summary>
    private static Task<T> Observe<T>(Task<T> response)
    {
        _ = response.ContinueWith(
            static task => _ = task.Exception,
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
        return response;
    }
}
