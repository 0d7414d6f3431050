using System.IO.Pipelines;
using Grpc.Core;
using Grpc.Wire;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>
/// Reads requests from the body's pipe, where they are parsed in place. What is examined but incomplete widens the
/// HTTP/2 window, so that a message larger than the window still arrives; what is not read holds the sender back.
/// </summary>
internal sealed class RequestReader<T>(ServerCall call, Marshaller<T> marshaller) : IAsyncStreamReader<T>
    where T : class
{
    private static readonly Task<bool> True = Task.FromResult(true);
    private static readonly Task<bool> False = Task.FromResult(false);

    private readonly PipeReader _body = call.HttpContext.Request.BodyReader;
    private T? _current;
    private bool _isAtEnd;

    public T Current =>
        _current ?? throw new InvalidOperationException("There is no current message: call MoveNext first.");

    public Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return Task.FromCanceled<bool>(cancellationToken);
        }

        if (call.HasEnded)
        {
            throw new InvalidOperationException("The call has ended; its requests can no longer be read.");
        }

        if (_isAtEnd)
        {
            return False;
        }

        if (_body.TryRead(out var result) && TryTake(result))
        {
            return _isAtEnd ? False : True;
        }

        return ReadAsync(cancellationToken);
    }

    /// <summary>Reads the one request of a call and sees that no other follows.</summary>
    public async ValueTask<T> ReadSingleAsync()
    {
        if (!await MoveNext(default))
        {
            throw FrameErrors.Malformed("the request holds no message.");
        }

        var request = Current;
        return await MoveNext(default)
            ? throw FrameErrors.Malformed("the request holds more than one message.")
            : request;
    }

    private async Task<bool> ReadAsync(CancellationToken cancellationToken)
    {
        CancellationTokenSource? both = null;
        var token = cancellationToken;
        if (call.HasDeadline)
        {
            token = call.CancellationToken;
            if (cancellationToken.CanBeCanceled && cancellationToken != token)
            {
                both = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, token);
                token = both.Token;
            }
        }

        try
        {
            while (!TryTake(await _body.ReadAsync(token)))
            {
            }

            return !_isAtEnd;
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException)
        {
            if (!token.IsCancellationRequested)
            {
                call.MarkAborted();
            }

            throw;
        }
        finally
        {
            both?.Dispose();
        }
    }

    /// <summary>Takes one message, or the end; false when the pipe must be read further.</summary>
    private bool TryTake(ReadResult result)
    {
        var buffer = result.Buffer;
        var consumed = buffer.Start;
        var examined = buffer.End;
        try
        {
            if (Frame.TryRead(
                ref buffer, call.Options.MaxReceiveMessageSize, out var isCompressed, out var payload, out _))
            {
                consumed = buffer.Start;
                examined = consumed;
                var message = Frame.Decode(
                    payload, isCompressed, call.RequestEncoding, call.Options.MaxReceiveMessageSize);
                _current = call.PayloadReader.Read(message, marshaller);
                return true;
            }

            if (!result.IsCompleted)
            {
                return false;
            }

            if (!buffer.IsEmpty)
            {
                throw FrameErrors.Malformed("the requests end inside a message.");
            }

            _current = null;
            _isAtEnd = true;
            return true;
        }
        finally
        {
            _body.AdvanceTo(consumed, examined);
        }
    }
}
