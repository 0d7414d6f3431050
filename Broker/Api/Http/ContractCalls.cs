using Broker.Domain;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using V1 = Broker.Protocol.V1;

namespace Broker.Api;

/// <summary>
/// Calls of the contract at addresses: what stands in the path, the query and the body becomes the request's message,
/// the same method serves it as by gRPC, and its answer is the body.
/// </summary>
internal sealed class ContractCalls(HttpBodies bodies)
{
    /// <summary>One of these calls.</summary>
    /// <param name="method">GET, POST, PUT, PATCH or DELETE; those with a body take it as JSON.</param>
    /// <param name="pattern">The address, whose names in braces are fields of the request.</param>
    /// <param name="rpc">The call's name in the contract.</param>
    /// <param name="summary">What it is, in a line.</param>
    /// <param name="call">The method.</param>
    /// <param name="prepare">What the address says beside its names.</param>
    /// <param name="id">Its own name, where two addresses come to the same call.</param>
    public HttpOperation Of<TRequest, TAnswer>(
        string method,
        string pattern,
        string rpc,
        string summary,
        Func<TRequest, ServerCallContext, Task<TAnswer>> call,
        Action<TRequest>? prepare = null,
        string? id = null)
        where TRequest : IMessage<TRequest>, new()
        where TAnswer : IMessage
    {
        var (request, answer) = Find(rpc);
        var hasBody = method is not ("GET" or "DELETE") && prepare is null;
        var names = NamesOf(pattern, request);
        var inQuery = hasBody || prepare is not null ? [] : request.Fields.InDeclarationOrder()
            .Where(field => !names.Any(name => name.Field == field)).ToArray();
        return new HttpOperation
        {
            Method = method,
            Pattern = pattern,
            Id = id ?? rpc,
            Tag = pattern.Split('/')[2].Split(':')[0],
            Summary = summary,
            Description = HttpSchemas.DescriptionOf(rpc),
            Request = request,
            Parameters = [.. inQuery.Select(field => new HttpParameter(
                field.Name, HttpSchemas.DescriptionOf(field.FullName), HttpSchemas.TypeOf(field)))],
            Bodies = hasBody
                ? [new(HttpJson.ContentType, document => HttpSchemas.BodyOf(document, request, names))]
                : [],
            Answers = [new(HttpJson.ContentType, document => HttpSchemas.Of(document, answer))],
            ServeAsync = async http =>
            {
                var message = hasBody
                    ? HttpJson.Read(await bodies.ReadJsonAsync(http), request)
                    : FromQuery(http.Request, request, inQuery);
                SetNames(http.Request, pattern, names, message);
                prepare?.Invoke((TRequest)message);
                var reply = await AnswerAsync(http, context => call((TRequest)message, context));
                await WriteAsync(http, reply);
            },
        };
    }

    /// <summary>Calls with a bound: what takes longer may be done or not.</summary>
    public static async Task<T> AnswerAsync<T>(HttpContext http, Func<ServerCallContext, Task<T>> call)
    {
        using var patience = HttpTarget.Patience(http, Limits.HttpCallMs);
        try
        {
            return await call(new HttpCallContext(http, patience.Token));
        }
        catch (OperationCanceledException) when (!http.RequestAborted.IsCancellationRequested
            && patience.IsCancellationRequested)
        {
            throw new HttpRefusal(
                StatusCodes.Status504GatewayTimeout,
                Protocol.Wire.Reason.OutcomeUnknown,
                $"The call was not done within {Limits.HttpCallMs / 1000} seconds, and may be carried out or not: ask "
                + "what has become of it, or send it again (a publish with the same Idempotency-Key).");
        }
    }

    public static async Task WriteAsync(HttpContext http, IMessage answer)
    {
        http.Response.ContentType = HttpJson.ContentType;
        await using (var json = new System.Text.Json.Utf8JsonWriter(http.Response.BodyWriter, HttpJson.Writing))
        {
            HttpJson.Write(json, answer);
        }

        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    private static (MessageDescriptor Request, MessageDescriptor Answer) Find(string rpc)
    {
        var method = V1.Admin.Descriptor.FindMethodByName(rpc) ?? V1.Broker.Descriptor.FindMethodByName(rpc)
            ?? throw new InvalidOperationException($"The contract has no call '{rpc}'.");
        return (method.InputType, method.OutputType);
    }

    /// <summary>The fields whose values stand in the path, and at which places.</summary>
    private static List<(FieldDescriptor? Field, int Place)> NamesOf(string pattern, MessageDescriptor request)
    {
        var names = new List<(FieldDescriptor? Field, int Place)>();
        foreach (var (place, segment) in pattern.Split('/', StringSplitOptions.RemoveEmptyEntries).Index())
        {
            if (segment.StartsWith('{'))
            {
                names.Add((request.FindFieldByName(segment[1..segment.IndexOf('}', StringComparison.Ordinal)]), place));
            }
        }

        return names;
    }

    private static void SetNames(
        HttpRequest http, string pattern, List<(FieldDescriptor? Field, int Place)> names, IMessage message)
    {
        foreach (var (field, place) in names)
        {
            if (field is null)
            {
                continue;
            }

            object value = field.FieldType == FieldType.String
                ? HttpTarget.NameAt(http, pattern, place)
                : HttpTarget.NumberAt(http, pattern, place);
            var said = field.Accessor.GetValue(message);
            if (said is not ("" or 0u) && !said.Equals(value))
            {
                throw HttpRefusal.Invalid(
                    $"The body's {field.Name} is '{said}', but the address says '{value}'; leave it out of the body.");
            }

            field.Accessor.SetValue(message, value);
        }
    }

    private static IMessage FromQuery(HttpRequest http, MessageDescriptor request, FieldDescriptor[] fields)
    {
        var query = ServiceDefaults.Http.RequestTarget.Query(http, [.. fields.Select(static field => field.Name)]);
        var message = request.Parser.ParseFrom([]);
        foreach (var field in fields)
        {
            if (query.Text(field.Name) is { } text)
            {
                field.Accessor.SetValue(message, ValueOf(query, field, text));
            }
        }

        return message;
    }

    private static object ValueOf(ServiceDefaults.Http.RequestQuery query, FieldDescriptor field, string text) =>
        field.FieldType switch
        {
            FieldType.String => text,
            FieldType.Bool => text switch
            {
                "true" => true,
                "false" => false,
                _ => throw HttpRefusal.Invalid(
                    $"The query parameter {field.Name} is '{text}'; expected true or false."),
            },
            FieldType.UInt32 => (uint)query.Number(field.Name, 0, 0, uint.MaxValue),
            FieldType.Message when field.MessageType.Name == "UInt32Value" =>
                (uint)query.Number(field.Name, 0, 0, uint.MaxValue),
            FieldType.Enum => EnumOf(field, text),
            _ => throw new InvalidOperationException($"{field.FullName} cannot stand in a query."),
        };

    /// <summary>By its name in the contract, or the end of it: DELIVERY_STATE_DEAD or dead.</summary>
    private static object EnumOf(FieldDescriptor field, string text)
    {
        var values = field.EnumType.Values.Where(static value => value.Number > 0).ToArray();
        var prefix = field.EnumType.Values[0].Name.Replace("UNSPECIFIED", "", StringComparison.Ordinal);
        var found = Array.Find(values, value => value.Name.Equals(text, StringComparison.OrdinalIgnoreCase)
            || value.Name.Equals(prefix + text, StringComparison.OrdinalIgnoreCase));
        return found is not null
            ? Enum.ToObject(field.EnumType.ClrType, found.Number)
            : throw HttpRefusal.Invalid(
                $"The query parameter {field.Name} is '{text}'; expected one of "
                + string.Join(", ", values.Select(value => value.Name[prefix.Length..].ToLowerInvariant())) + ".");
    }
}
