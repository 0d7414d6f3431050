using System.Buffers;
using System.Text;
using Broker.Domain;

namespace Broker.Api;

/// <summary>
/// Reads bodies within bounds: each has its own, which the declared length is held to before anything is read, and all
/// together that are in memory have one.
/// </summary>
internal sealed class HttpBodies(IHostApplicationLifetime lifetime)
{
    private const int LeastRead = 4096;

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);
    private static readonly TimeSpan ComeBack = TimeSpan.FromMilliseconds(100);

    private long _heldBytes;

    /// <summary>The whole body. What is held of it counts until the call's end.</summary>
    /// <exception cref="HttpRefusal">It is too large.</exception>
    /// <exception cref="BrokerException">Overloaded; Stopping.</exception>
    public async Task<ReadOnlyMemory<byte>> ReadAsync(HttpContext http, int limitBytes, string what)
    {
        var request = http.Request;
        if (request.ContentLength > limitBytes)
        {
            throw HttpRefusal.TooLarge(what, limitBytes);
        }

        var share = new Share(this);
        http.Response.RegisterForDispose(share);
        share.Hold(request.ContentLength ?? 0);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(
            http.RequestAborted, lifetime.ApplicationStopping);
        var body = new ArrayBufferWriter<byte>((int)(request.ContentLength ?? 0) + LeastRead);
        try
        {
            for (int count; (count = await request.Body.ReadAsync(body.GetMemory(LeastRead), ending.Token)) > 0;)
            {
                body.Advance(count);
                if (body.WrittenCount > limitBytes)
                {
                    throw HttpRefusal.TooLarge(what, limitBytes);
                }

                share.Hold(body.WrittenCount);
            }
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested)
        {
            throw Refusal.Stopping();
        }

        return body.WrittenMemory;
    }

    /// <summary>A body that is one JSON text.</summary>
    /// <exception cref="HttpRefusal">Another type; not UTF-8; too large.</exception>
    public async Task<ReadOnlyMemory<byte>> ReadJsonAsync(HttpContext http)
    {
        var type = http.Request.ContentType;
        if (http.Request.ContentLength != 0 && type is not null && !HttpJson.IsJson(type))
        {
            throw HttpRefusal.WrongType(type, "application/json");
        }

        var body = await ReadAsync(http, Limits.HttpJsonBytes, "The request's body");
        if (!body.IsEmpty && type is null)
        {
            throw HttpRefusal.WrongType(type, "application/json");
        }

        return body;
    }

    /// <exception cref="HttpRefusal">It is not UTF-8.</exception>
    public static string TextOf(ReadOnlyMemory<byte> body)
    {
        try
        {
            return Strict.GetString(body.Span);
        }
        catch (DecoderFallbackException)
        {
            throw HttpRefusal.Invalid("The request's body is not UTF-8, which JSON must be.");
        }
    }

    /// <summary>What one call holds.</summary>
    private sealed class Share(HttpBodies all) : IDisposable
    {
        private long _bytes;

        public void Hold(long bytes)
        {
            var more = bytes - _bytes;
            if (more <= 0)
            {
                return;
            }

            if (Interlocked.Add(ref all._heldBytes, more) > Limits.HttpBodyBytes)
            {
                Interlocked.Add(ref all._heldBytes, -more);
                throw Refusal.Overloaded("What this node is receiving by HTTP", ComeBack);
            }

            _bytes = bytes;
        }

        public void Dispose()
        {
            Interlocked.Add(ref all._heldBytes, -_bytes);
            _bytes = 0;
        }
    }
}
