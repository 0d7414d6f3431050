using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Broker.ServiceDefaults.Http;

/// <summary>Gives every refusal of a request a body that says why: application/problem+json with a sentence.</summary>
public static class RequestProblems
{
    /// <summary>
    /// Answers a <see cref="BadHttpRequestException"/> with its message, and gives what was refused without a body the
    /// sentence of its status.
    /// </summary>
    public static IApplicationBuilder UseRequestProblems(this IApplicationBuilder app) =>
        app.Use(static next => context => AnswerAsync(context, next));

    /// <summary>
    /// Answers other methods on a path with 405 and Allow. Routing does so by itself only for paths that match nothing
    /// else, and every path of two parts matches gRPC's answer for unknown methods.
    /// </summary>
    public static void RefuseOtherMethods(this IEndpointRouteBuilder endpoints, string pattern, string allow) =>
        endpoints.Map(pattern, context =>
        {
            context.Response.StatusCode = StatusCodes.Status405MethodNotAllowed;
            context.Response.Headers.Allow = allow;
            return Task.CompletedTask;
        }).WithOrder(1);

    private static async Task AnswerAsync(HttpContext context, RequestDelegate next)
    {
        try
        {
            await next(context);
        }
        catch (BadHttpRequestException e) when (!context.Response.HasStarted)
        {
            await WriteAsync(context, e.StatusCode, e.Message);
            return;
        }

        var response = context.Response;
        if (response is { StatusCode: >= 400 and < 500, HasStarted: false, ContentType: null, ContentLength: null })
        {
            await WriteAsync(context, response.StatusCode, SentenceOf(context));
        }
    }

    private static string SentenceOf(HttpContext context) => context.Response.StatusCode switch
    {
        StatusCodes.Status404NotFound => $"There is nothing at {context.Request.Path}. README.md names the addresses.",
        StatusCodes.Status405MethodNotAllowed =>
            $"{context.Request.Path} does not take {context.Request.Method}; it takes "
            + $"{context.Response.Headers.Allow}.",
        StatusCodes.Status415UnsupportedMediaType => "The request's Content-Type is not one that is taken here.",
        var status => $"The request was refused with status {status}.",
    };

    private static Task WriteAsync(HttpContext context, int status, string sentence) =>
        TypedResults.Problem(sentence, statusCode: status).ExecuteAsync(context);
}
