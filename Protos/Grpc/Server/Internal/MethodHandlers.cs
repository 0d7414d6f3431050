using Grpc.Core;

namespace Grpc.AspNetCore.Server.Internal;

internal sealed class UnaryHandler<TService, TRequest, TResponse>(
    Method<TRequest, TResponse> method,
    ServerSettings settings,
    Func<TService, TRequest, ServerCallContext, Task<TResponse>> invoke)
    : MethodHandler<TService, TRequest, TResponse>(method, settings)
    where TService : class
    where TRequest : class
    where TResponse : class
{
    protected override async Task InvokeAsync(TService service, ServerCall call)
    {
        var request = await new RequestReader<TRequest>(call, Method.RequestMarshaller).ReadSingleAsync();
        var response = await invoke(service, request, call);
        await new ResponseWriter<TResponse>(call, Method.ResponseMarshaller).WriteSingleAsync(response);
    }
}

internal sealed class ClientStreamingHandler<TService, TRequest, TResponse>(
    Method<TRequest, TResponse> method,
    ServerSettings settings,
    Func<TService, IAsyncStreamReader<TRequest>, ServerCallContext, Task<TResponse>> invoke)
    : MethodHandler<TService, TRequest, TResponse>(method, settings)
    where TService : class
    where TRequest : class
    where TResponse : class
{
    protected override async Task InvokeAsync(TService service, ServerCall call)
    {
        var requests = new RequestReader<TRequest>(call, Method.RequestMarshaller);
        var response = await invoke(service, requests, call);
        await new ResponseWriter<TResponse>(call, Method.ResponseMarshaller).WriteSingleAsync(response);
    }
}

internal sealed class ServerStreamingHandler<TService, TRequest, TResponse>(
    Method<TRequest, TResponse> method,
    ServerSettings settings,
    Func<TService, TRequest, IServerStreamWriter<TResponse>, ServerCallContext, Task> invoke)
    : MethodHandler<TService, TRequest, TResponse>(method, settings)
    where TService : class
    where TRequest : class
    where TResponse : class
{
    protected override async Task InvokeAsync(TService service, ServerCall call)
    {
        var request = await new RequestReader<TRequest>(call, Method.RequestMarshaller).ReadSingleAsync();
        await invoke(service, request, new ResponseWriter<TResponse>(call, Method.ResponseMarshaller), call);
    }
}

internal sealed class DuplexHandler<TService, TRequest, TResponse>(
    Method<TRequest, TResponse> method,
    ServerSettings settings,
    Func<TService, IAsyncStreamReader<TRequest>, IServerStreamWriter<TResponse>, ServerCallContext, Task> invoke)
    : MethodHandler<TService, TRequest, TResponse>(method, settings)
    where TService : class
    where TRequest : class
    where TResponse : class
{
    protected override Task InvokeAsync(TService service, ServerCall call) => invoke(
        service,
        new RequestReader<TRequest>(call, Method.RequestMarshaller),
        new ResponseWriter<TResponse>(call, Method.ResponseMarshaller),
        call);
}
