using System.Buffers;
using Grpc.Core;
using Grpc.Wire;

namespace Grpc.Net.Client.Internal;

/// <summary>Reads responses. Those that came together in one read are taken from the buffer without a wait.</summary>
internal sealed class ClientStreamReader<TRequest, TResponse>(
    ClientCall<TRequest, TResponse> call, Marshaller<TResponse> marshaller)
    : ExclusiveUse, IAsyncStreamReader<TResponse>
    where TRequest : class
    where TResponse : class
{
    private static readonly Task<bool> True = Task.FromResult(true);
    private static readonly Task<bool> False = Task.FromResult(false);

    private readonly PayloadReader _payloads = new();
    private volatile ResponseFrames? _frames;
    private HttpResponseMessage? _response;
    private TResponse? _current;

    public TResponse Current =>
        _current ?? throw new InvalidOperationException("There is no current message: call MoveNext first.");

    public void Attach(ResponseFrames frames, HttpResponseMessage response)
    {
        _response = response;
        _frames = frames;
    }

    public Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            call.Cancel();
        }

        if (!TryEnter())
        {
            return IsClosed
                ? End()
                : throw new InvalidOperationException(
                    "The previous read is in progress; one response can be read at a time.");
        }

        var isDone = false;
        try
        {
            if (_frames is { } frames && frames.TryRead(out var payload))
            {
                isDone = true;
                Take(payload);
                return True;
            }
        }
        catch (RpcException exception)
        {
            isDone = true;
            call.Fail(exception);
            return Task.FromException<bool>(call.CreateException());
        }
        finally
        {
            if (isDone)
            {
                Exit();
            }
        }

        return ReadAsync(cancellationToken);
    }

    protected override void ReleaseBuffer() => _frames?.Release();

    private async Task<bool> ReadAsync(CancellationToken cancellationToken)
    {
        using var registration = cancellationToken.UnsafeRegister(
            static state => ((ClientCall)state!).Cancel(), call);
        try
        {
            var frames = await call.Response;
            while (frames is not null)
            {
                if (frames.TryRead(out var payload))
                {
                    Take(payload);
                    return true;
                }

                if (!await frames.FillAsync(call.Lifetime))
                {
                    Finish(frames);
                    break;
                }
            }
        }
        catch (Exception exception)
        {
            call.Fail(exception);
        }
        finally
        {
            Exit();
        }

        return await End();
    }

    private void Take(in ReadOnlySequence<byte> payload) => _current = _payloads.Read(payload, marshaller);

    private void Finish(ResponseFrames frames)
    {
        if (frames.HasPartialFrame)
        {
            throw FrameErrors.Malformed("the responses end inside a message.");
        }

        call.FinishFromTrailers(_response!.TrailingHeaders, hasMessage: _current is not null);
    }

    private Task<bool> End() => call.GetStatus().StatusCode == StatusCode.OK
        ? False
        : Task.FromException<bool>(call.CreateException());
}
